import fnmatch
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from faceindex.errors import ConfigError
from faceindex.gallery.filters import Filters
from faceindex.gallery.search import Gallery
from faceindex.tables import PHOTOS_VIEW
from faceindex.types import IndexRecipe
from tests.support.galleries import MODEL, face_table, make_gallery, random_ids

PHOTOS, FACES, DIMENSION = 40, 600, 16
TIMES = [
    None,
    "2018-12-31T23:59:59",
    "2019-01-01T00:00:00",
    "2019-07-04T10:00:00",
    "2019-07-31T23:59:59",
    "2020-02-02T02:02:02",
]
PATHS = [b"/photos/2019/a%d.jpg", b"/photos/2019/caf\xe9 %d.png", b"/photos/(old) [1]/b%d.jpg", b"/other/c%d.JPG"]


SOME = frozenset(bytes(identity).hex() for identity in random_ids(FACES, 1)[::3].tolist()) | {"00" * 16}


def photos_of(view: pa.Table, people: frozenset[str]) -> NDArray[np.bytes_]:
    ids = {photo["photo_id"] for photo in view.to_pylist() if photo["person"] in people and photo["photo_id"]}
    return np.array(sorted(ids), "S16")


@pytest.fixture(scope="module")
def view() -> pa.Table:
    """Photos with times and paths; every seventh is there twice, at two paths, and one could never be read."""
    dice, ids = random.Random(5), random_ids(PHOTOS, 99).tolist()
    rows: list[dict[str, Any]] = []
    for number, identity in enumerate(ids):
        taken, name = dice.choice(TIMES), dice.choice([None, "Ann", "Bob"])
        for copy in range(2 if number % 7 == 0 else 1):
            path = dice.choice(PATHS) % (100 * copy + number)
            rows.append(
                {"photo_id": bytes(identity), "path": path, "captured_at": taken, "state": "ok", "person": name}
            )
    rows.append(
        {
            "photo_id": None,
            "path": b"/photos/2019/broken.jpg",
            "captured_at": None,
            "state": "unreadable",
            "person": None,
        }
    )
    for row in rows:
        row |= {"size_bytes": 1, "mtime_ns": 1, "detail": "", "width": 1, "height": 1, "face_count": 1, "batch": "b"}
    return pa.Table.from_pylist(rows, schema=PHOTOS_VIEW)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory, faces_of_photos: None) -> Gallery:
    """Faces of those photos in three shards, of all qualities and sizes."""
    generator = np.random.default_rng(3)
    vectors = generator.normal(size=(FACES, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = random_ids(FACES, 1)
    return make_gallery(tmp_path_factory.mktemp("gallery"), ids, vectors, IndexRecipe("exact"), shards=3)


@pytest.fixture(scope="module")
def faces_of_photos() -> Any:
    """Deal the faces of `face_table` to the photos, and give them sizes and qualities."""
    patch = pytest.MonkeyPatch()

    def table(ids: Any) -> pa.Table:
        made = face_table(ids)
        generator = np.random.default_rng(int.from_bytes(bytes(ids[0])[:4], "little"))
        photos = random_ids(PHOTOS, 99)[generator.integers(0, PHOTOS, len(ids))]
        corners, sides = generator.uniform(0, 500, (len(ids), 2)), generator.uniform(10, 90, (len(ids), 2))
        columns = {
            "photo_id": pa.array([bytes(photo) for photo in photos.tolist()], pa.binary(16)),
            "x0": pa.array(corners[:, 0], pa.float32()),
            "y0": pa.array(corners[:, 1], pa.float32()),
            "x1": pa.array(corners[:, 0] + sides[:, 0], pa.float32()),
            "y1": pa.array(corners[:, 1] + sides[:, 1], pa.float32()),
            "quality": pa.array(generator.uniform(0, 1, len(ids)), pa.float32()),
        }
        for name, column in columns.items():
            made = made.set_column(made.schema.get_field_index(name), made.schema.field(name), column)
        return made

    patch.setattr("tests.support.galleries.face_table", table)
    yield
    patch.undo()


def passes(row: dict[str, Any], photos: list[dict[str, Any]], filters: Filters) -> bool:
    """Tell whether a face passes, by a loop over the photos: the oracle."""
    name = row["face_id"].hex()
    shorter = min(np.float32(row["x1"]) - np.float32(row["x0"]), np.float32(row["y1"]) - np.float32(row["y0"]))
    return (
        (filters.min_quality is None or row["quality"] >= np.float32(filters.min_quality))
        and (filters.min_face_px is None or shorter >= filters.min_face_px)
        and (filters.faces is None or name in filters.faces)
        and name not in (filters.not_faces or ())
        and any(shows(photo, filters) for photo in photos if photo["photo_id"] == row["photo_id"])
    )


def shows(photo: dict[str, Any], filters: Filters) -> bool:
    """Tell whether a photo passes."""
    taken, glob = photo["captured_at"], None if filters.path is None else filters.path.replace("[", "[[]").encode()
    return (
        (filters.since is None or (taken is not None and taken >= filters.since))
        and (filters.until is None or (taken is not None and taken[: len(filters.until)] <= filters.until))
        and (filters.people is None or photo["person"] in filters.people)
        and photo["person"] not in (filters.not_people or ())
        and (glob is None or fnmatch.fnmatchcase(photo["path"], glob))
    )


@pytest.mark.parametrize(
    "filters",
    [
        Filters(since="2019"),
        Filters(until="2019-07"),
        Filters(since="2019-07-04", until="2019-07-31"),
        Filters(since="2019-07-04T10:00:01"),
        Filters(until="2018"),
        Filters(path="*/2019/*"),
        Filters(path="/photos/(old) [1]/b?.jpg"),
        Filters(path="*.jpg"),
        Filters(min_quality=0.8),
        Filters(min_face_px=60.0),
        Filters(since="2019", until="2019", path="*.jpg", min_quality=0.3, min_face_px=20),
        Filters(path="nowhere"),
        Filters(people=frozenset({"Ann", "Nobody"})),
        Filters(not_people=frozenset({"Ann"}), since="2019"),
        Filters(faces=SOME),
        Filters(not_faces=SOME, min_quality=0.2),
    ],
    ids=str,
)
def test_masks_are_those_of_a_loop_over_faces_and_photos(gallery: Gallery, view: pa.Table, filters: Filters) -> None:
    photos = view.to_pylist()

    masks = filters.masks(gallery.shards, view, lambda people: photos_of(view, people))

    expected = [[passes(row, photos, filters) for row in shard.faces.to_pylist()] for shard in gallery.shards]
    assert [mask.tolist() for mask in masks] == expected
    share = np.mean(np.concatenate(masks))
    assert share == 0 if filters.path == "nowhere" else 0 < share < 1


def test_a_search_under_a_filter_finds_what_exact_search_finds_among_the_faces_that_pass(
    gallery: Gallery, view: pa.Table
) -> None:
    masks = Filters(since="2019", min_quality=0.5).masks(gallery.shards, view, lambda _: np.empty(0, "S16"))
    ids = np.concatenate([shard.ids[mask] for shard, mask in zip(gallery.shards, masks, strict=True)])
    vectors = np.concatenate([shard.vectors[mask] for shard, mask in zip(gallery.shards, masks, strict=True)])
    probes = np.random.default_rng(8).normal(size=(20, DIMENSION)).astype(np.float32)
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)

    found = gallery.search(probes, MODEL, 5, allowed=masks)

    best = np.argsort(-(probes @ vectors.T.astype(np.float32)), axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(found.face_ids.view("S16"), ids[best])


def test_nothing_asked_for_is_no_filter() -> None:
    assert not Filters()
    assert Filters(path="*")
    assert Filters(min_quality=0.0)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"since": "yesterday"}, "since must be a date such as 2019, 2019-07 or 2019-07-31, got 'yesterday'"),
        ({"until": "2019-02-30"}, "until must be a date .* got '2019-02-30'"),
        ({"since": "2019-7-1"}, "since must be a date"),
        ({"since": "2020", "until": "2019-12"}, "since must not be after until, got 2020 and 2019-12"),
        ({"min_quality": 1.5}, "min_quality must be from 0 to 1, got 1.5"),
        ({"min_quality": float("nan")}, "min_quality must be from 0 to 1"),
        ({"faces": frozenset({"abc"})}, "ids of faces are 32 hex digits, got 'abc'"),
        ({"min_face_px": 0.0}, "min_face_px must be positive, got 0"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Filters(**asked)
