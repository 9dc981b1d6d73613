from dataclasses import replace

import pytest

from faceindex.config import Settings
from faceindex.pipeline.batches import make_batches, settings_digest
from faceindex.types import ModelId, PhotoRef

MODEL = ModelId("demo@0123456789ab")


def refs(*names: str, size: int = 10, mtime: int = 1) -> list[PhotoRef]:
    return [PhotoRef(f"/photos/{name}".encode(), size, mtime) for name in names]


def test_batches_hold_every_photo_once_and_in_order() -> None:
    photos = sorted(refs(*(f"{i:03}.jpg" for i in range(10))))

    batches = list(make_batches(photos, Settings(batch_photos=3), "digest"))

    assert [ref for batch in batches for ref in batch.photos] == photos
    assert [len(batch.photos) for batch in batches] == [3, 3, 3, 1]


def test_a_batch_ends_before_it_exceeds_its_bytes_but_takes_one_large_photo() -> None:
    photos = [*refs("a", "b", "c", size=400_000), *refs("d", size=5_000_000), *refs("e", size=1)]

    batches = list(make_batches(photos, Settings(batch_megabytes=1), "digest"))

    assert [[ref.path[-1:] for ref in batch.photos] for batch in batches] == [[b"a", b"b"], [b"c"], [b"d"], [b"e"]]


def test_the_same_photos_and_settings_give_the_same_batch_ids() -> None:
    photos = refs("a", "b")

    assert list(make_batches(photos, Settings(), "digest")) == list(make_batches(photos, Settings(), "digest"))


@pytest.mark.parametrize(
    "other",
    [
        refs("a", "c"),
        refs("a", "b", size=11),
        refs("a", "b", mtime=2),
        refs("b", "a"),
        refs("a"),
        [PhotoRef(b"/photos/a/photos/b", 10, 1)],
    ],
)
def test_any_other_photos_give_another_batch_id(other: list[PhotoRef]) -> None:
    [batch] = make_batches(refs("a", "b"), Settings(), "digest")
    [another] = make_batches(other, Settings(), "digest")

    assert batch.batch_id != another.batch_id


@pytest.mark.parametrize("name", Settings.DATA_SETTINGS)
def test_every_data_setting_changes_the_digest(name: str) -> None:
    value = getattr(Settings(), name)
    others = {bool: lambda: not value, int: lambda: value + 1, float: lambda: value + 0.5, str: lambda: value + "x"}
    other = others[type(value)]()

    assert settings_digest(Settings(), "mtcnn", MODEL) != settings_digest(
        replace(Settings(), **{name: other}), "mtcnn", MODEL
    )


def test_settings_that_do_not_shape_data_files_leave_the_digest_alone() -> None:
    changed = Settings(batch_photos=3, index="exact", photo_timeout_s=1.0, roots=("/photos",))

    assert settings_digest(Settings(), "mtcnn", MODEL) == settings_digest(changed, "mtcnn", MODEL)
