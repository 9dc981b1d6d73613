from datetime import UTC, datetime

import pytest

from faceindex.images.remote import Store, protocol_of

WRITTEN = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("path", "protocol"),
    [("s3://bucket/x", "s3"), ("local:///x", "local"), ("/home/x://y", None), ("C://x", None), ("album", None)],
)
def test_urls_are_told_from_paths(path: str, protocol: str | None) -> None:
    assert protocol_of(path) == protocol


@pytest.mark.parametrize(
    "told",
    [
        {"mtime": WRITTEN.timestamp()},
        {"LastModified": WRITTEN},
        {"last_modified": WRITTEN.replace(tzinfo=None)},
        {"updated": "2024-05-06T07:08:09Z"},
        {"mtime": None, "created": WRITTEN},
    ],
)
def test_the_time_is_found_however_the_store_tells_it(told: dict) -> None:
    ref = Store("memory://bucket").ref({"name": "/bucket/a.jpg", "size": 3, **told})

    assert ref.mtime_ns == int(WRITTEN.timestamp()) * 10**9


def test_a_store_that_tells_no_time_gives_zero() -> None:
    assert Store("memory://bucket").ref({"name": "/bucket/a.jpg", "size": 3}).mtime_ns == 0
