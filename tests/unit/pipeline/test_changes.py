import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceindex.pipeline.changes import are_under, compare
from faceindex.tables import PHOTOS_VIEW
from faceindex.types import PhotoRef, PhotoState

NAMES = [b"/a/%d" % number for number in range(6)]


def refs(*names: str, size: int = 10, mtime: int = 1) -> list[PhotoRef]:
    return [PhotoRef(f"/photos/{name}".encode(), size, mtime) for name in names]


def known_of(photos: list[PhotoRef], state: PhotoState = PhotoState.OK) -> pa.Table:
    rows = [{**ref._asdict(), "state": state.value, "face_count": 0, "batch": "ab"} for ref in photos]
    return pa.Table.from_pylist(rows, PHOTOS_VIEW)


def test_an_unchanged_folder_has_nothing_to_do() -> None:
    photos = refs("a", "b")

    changes = compare(photos, known_of(photos), [b"/photos"], retry_failed=False)

    assert (changes.todo, changes.gone, changes.unchanged_count) == ([], [], 2)


def test_new_changed_and_touched_photos_are_done_and_missing_ones_are_gone() -> None:
    before = [*refs("gone", "same"), *refs("grown", size=10), *refs("touched", mtime=1)]
    now = [*refs("touched", mtime=2), *refs("new", "same"), *refs("grown", size=11)]

    changes = compare(now, known_of(before), [b"/photos"], retry_failed=False)

    assert [ref.path for ref in changes.todo] == [b"/photos/grown", b"/photos/new", b"/photos/touched"]
    assert changes.gone == refs("gone")
    assert changes.arrived == refs("new")
    assert changes.unchanged_count == 1


def test_photos_under_roots_that_were_not_crawled_are_left_alone() -> None:
    elsewhere = known_of([PhotoRef(b"/other/a.jpg", 1, 1), PhotoRef(b"/photos2/a.jpg", 1, 1)])

    changes = compare([], elsewhere, [b"/photos"], retry_failed=False)

    assert changes.gone == []


def test_a_failed_photo_is_tried_again_only_when_asked_or_changed() -> None:
    photos = refs("broken")
    known = known_of(photos, PhotoState.TRUNCATED)

    assert compare(photos, known, [b"/photos"], retry_failed=False).todo == []
    assert compare(photos, known, [b"/photos"], retry_failed=True).todo == photos
    assert compare(refs("broken", size=12), known, [b"/photos"], retry_failed=False).todo == refs("broken", size=12)


def test_an_unchanged_photo_seen_through_two_overlapping_roots_counts_once() -> None:
    photos = refs("a", "b")

    assert compare([*photos, *photos], known_of(photos), [b"/photos"], retry_failed=False).unchanged_count == 2


@given(
    before=st.dictionaries(st.sampled_from(NAMES), st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans())),
    now=st.dictionaries(st.sampled_from(NAMES), st.tuples(st.integers(0, 2), st.integers(0, 2))),
    retry_failed=st.booleans(),
)
def test_columns_compare_as_photos_do_one_by_one(
    before: dict[bytes, tuple[int, int, bool]], now: dict[bytes, tuple[int, int]], retry_failed: bool
) -> None:
    known = pa.concat_tables(
        known_of([PhotoRef(path, *look)], PhotoState.OK if done else PhotoState.TRUNCATED)
        for path, (*look, done) in {b"/else": (0, 0, True), **before}.items()
    )
    same = {
        path for path, look in now.items() if (*look, True) == before.get(path)
        or ((*look, False) == before.get(path) and not retry_failed)
    }  # fmt: skip

    changes = compare((PhotoRef(path, *look) for path, look in now.items()), known, [b"/a"], retry_failed=retry_failed)

    assert changes.todo == sorted(PhotoRef(path, *look) for path, look in now.items() if path not in same)
    assert [ref.path for ref in changes.arrived] == sorted(now.keys() - before.keys())
    assert [ref.path for ref in changes.gone] == sorted(before.keys() - now.keys())
    assert changes.unchanged_count == len(same)


def test_a_photo_seen_through_two_overlapping_roots_counts_once() -> None:
    changes = compare([*refs("a"), *refs("a")], known_of([]), [b"/photos", b"/photos"], retry_failed=False)

    assert changes.todo == refs("a")


@pytest.mark.parametrize(
    ("path", "inside"),
    [(b"/photos/a", True), (b"/photos", True), (b"/photos2/a", False), (b"/", False)],
)
def test_a_path_is_under_a_root_by_whole_folder_names(path: bytes, inside: bool) -> None:
    paths = pa.chunked_array([[path]], pa.binary())

    assert are_under(paths, [b"/other", b"/photos"]).tolist() == [inside]
    assert are_under(paths, [b"/photos/"]).tolist() == [inside and path != b"/photos"]
    assert are_under(paths, []).tolist() == [False]
