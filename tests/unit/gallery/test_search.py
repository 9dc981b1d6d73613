from pathlib import Path

import numpy as np
import pytest

from faceindex.arrays import l2_normalize
from faceindex.errors import ConfigError, DamagedError, ModelMismatchError, ShapeError
from faceindex.gallery import search as module
from faceindex.gallery.build import train
from faceindex.gallery.recipe import choose_recipe
from faceindex.gallery.search import Gallery, nearest_of_all
from faceindex.gallery.shard import TrainedIndex
from faceindex.types import CandidateLists, IndexRecipe, ModelId
from tests.support.galleries import MODEL, answers, make_gallery, naive_search, random_ids
from tests.support.people import synthetic_people

EXACT = IndexRecipe("exact")
DIMENSION = 32
PEOPLE = 1000
FACES = 5 * PEOPLE


class Archive:
    """Faces of people, and a probe of each of the first hundred."""

    def __init__(self) -> None:
        vectors, subjects = synthetic_people([6] * 100 + [5] * (PEOPLE - 100), seed=1, dimension=DIMENSION)
        probe_rows = np.searchsorted(subjects, np.arange(100))
        self.probes = vectors[probe_rows]
        self.vectors = np.delete(vectors, probe_rows, axis=0)
        self.ids = np.random.default_rng(2).permutation(random_ids(FACES, 1))
        self.trained: dict[str, TrainedIndex] = {}

    def train(self, recipe: IndexRecipe) -> TrainedIndex | None:
        if recipe.factory == "exact":
            return None
        if recipe.factory not in self.trained:
            in_order = self.vectors[np.argsort(self.ids.view("S16"))].astype(np.float16)
            self.trained[recipe.factory] = train(recipe, in_order)
        return self.trained[recipe.factory]

    def gallery(self, folder: Path, recipe: IndexRecipe, **options: object) -> Gallery:
        return make_gallery(folder, self.ids, self.vectors, recipe, self.train(recipe), **options)


@pytest.fixture(scope="module")
def archive() -> Archive:
    return Archive()


IVF = choose_recipe(FACES, DIMENSION, "IVF64,PQ16x4fs")


def same(left: CandidateLists, right: CandidateLists) -> bool:
    return left.face_ids.tobytes() == right.face_ids.tobytes() and (
        left.similarities.tobytes() == right.similarities.tobytes()
    )


def recall(found: CandidateLists, truth: list[list[bytes]]) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(answers(found)[0], truth, strict=True)]))


@pytest.mark.parametrize("recipe", [EXACT, IVF], ids=lambda recipe: recipe.factory)
def test_shards_threads_and_company_do_not_change_a_bit_of_the_answer(
    archive: Archive, recipe: IndexRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "CHUNK_PROBES", 30)
    dead = archive.ids[::9]
    galleries = [archive.gallery(tmp_path / str(count), recipe, shards=count, tombstones=dead) for count in (1, 3, 7)]

    found = [gallery.search(archive.probes, MODEL, 10, threads) for gallery in galleries for threads in (1, 2)]

    assert all(same(found[0], other) for other in found)
    for row in (0, 57, 99):
        alone = galleries[1].search(archive.probes[row : row + 1], MODEL, 10)
        assert same(alone, CandidateLists(found[0].face_ids[[row]], found[0].similarities[[row]], MODEL))


def test_an_exact_gallery_answers_as_sorting_everything(archive: Archive, tmp_path: Path):
    gallery = archive.gallery(tmp_path, EXACT, shards=3)

    found = gallery.search(archive.probes[:10], MODEL, 25)

    assert answers(found) == naive_search(archive.ids, archive.vectors, l2_normalize(archive.probes[:10]), 25)


@pytest.mark.parametrize(
    ("factory", "least_recall"),
    [
        ("IVF64,PQ16x4fs", 0.95),
        ("IVF64,PQ8x4fs", 0.9),
        ("IVF64,SQ8", 0.95),
        ("IVF64,Flat", 0.95),
        ("PCA32,IVF64,PQ16x4fs", 0.95),
        ("HNSW16", 0.95),
        ("HNSW16,SQ8", 0.95),
    ],
)
@pytest.mark.parametrize("dead_share", [0.0, 0.3])
def test_an_index_that_is_asked_for_finds_what_exact_search_finds(
    archive: Archive, factory: str, least_recall: float, dead_share: float, tmp_path: Path
):
    recipe = IndexRecipe(factory, *_operating_point(factory))
    dead = archive.ids[np.random.default_rng(3).random(FACES) < dead_share]
    gallery = archive.gallery(tmp_path, recipe, shards=2, tombstones=dead)
    living = ~np.isin(archive.ids.view("S16"), dead.view("S16"))
    truth_ids, truth_scores = naive_search(
        archive.ids[living], archive.vectors[living], l2_normalize(archive.probes), 10
    )

    found = gallery.search(archive.probes, MODEL, 10)

    assert not np.isin(found.face_ids.view("S16"), dead.view("S16")).any()
    assert gallery.size == living.sum()
    assert recall(found, truth_ids) >= least_recall
    first_ids, first_scores = answers(found)
    agree = [a[0] == b[0] for a, b in zip(first_ids, truth_ids, strict=True)]
    assert np.mean(agree) >= 0.98
    # Scores are those of exact search, whatever the index.
    assert all(a[0] == b[0] for a, b, same in zip(first_scores, truth_scores, agree, strict=True) if same)


def _operating_point(factory: str) -> tuple[int, int]:
    recipe = choose_recipe(10**6, DIMENSION, factory)
    return recipe.nprobe, recipe.rerank


def test_a_search_for_one_candidate_finds_the_first_of_ten(archive: Archive, tmp_path: Path):
    gallery = archive.gallery(tmp_path, IndexRecipe("IVF64,PQ4x4fs", nprobe=40, rerank=2))

    one, ten = (gallery.search(archive.probes, MODEL, k) for k in (1, 10))

    assert (one.face_ids[:, 0] == ten.face_ids[:, 0]).all()


@pytest.mark.parametrize("recipe", [EXACT, IVF], ids=lambda recipe: recipe.factory)
def test_candidates_are_distinct_and_descending_with_ties_by_id(archive: Archive, recipe: IndexRecipe, tmp_path: Path):
    copies = archive.vectors.copy()
    copies[1000:1030] = copies[0]
    gallery = make_gallery(tmp_path, archive.ids, copies, recipe, archive.train(recipe), shards=2)

    found = gallery.search(copies[:1], MODEL, 40)

    order = np.lexsort((found.face_ids[0].view("S16"), -found.similarities[0]))
    assert (order == np.arange(40)).all()
    assert len(set(answers(found)[0][0])) == 40
    tied = np.sort(archive.ids[[0, *range(1000, 1030)]].view("S16"))
    assert (found.face_ids[0, :31].view("S16") == tied).all()


def test_more_faces_of_one_code_than_are_re_ranked_still_fill_the_list(archive: Archive, tmp_path: Path):
    copies = archive.vectors.copy()
    copies[:400] = copies[0]
    gallery = make_gallery(tmp_path, archive.ids, copies, IVF, archive.train(IVF))

    found = gallery.search(copies[:1], MODEL, 10)

    assert found.counts.tolist() == [10]
    assert (found.similarities == found.similarities[0, 0]).all()


@pytest.mark.parametrize("factory", ["exact", "IVF4,PQ16x4fs", "HNSW16"])
def test_a_list_longer_than_the_gallery_ends_in_empty_places(archive: Archive, factory: str, tmp_path: Path):
    recipe = IndexRecipe(factory, nprobe=4, rerank=10)
    ids, vectors = archive.ids[:20], archive.vectors[:20]
    gallery = make_gallery(tmp_path, ids, vectors, recipe, archive.train(recipe), shards=3, tombstones=ids[:3])

    found = gallery.search(archive.probes[:2], MODEL, 25)

    assert found.counts.tolist() == [17, 17]
    assert answers(found) == naive_search(ids[3:], vectors[3:], l2_normalize(archive.probes[:2]), 25)
    assert found.face_ids[:, 17:].tobytes() == bytes(2 * 8 * 16)
    assert np.isneginf(found.similarities[:, 17:]).all()


@pytest.mark.parametrize("factory", ["exact", "IVF4,PQ16x4fs"])
def test_a_gallery_whose_faces_are_all_dead_finds_nobody(archive: Archive, factory: str, tmp_path: Path):
    recipe = IndexRecipe(factory, nprobe=4, rerank=10)
    ids = archive.ids[:20]
    gallery = make_gallery(tmp_path, ids, archive.vectors[:20], recipe, archive.train(recipe), tombstones=ids)

    found = gallery.search(archive.probes[:2], MODEL, 3)

    assert gallery.size == 0
    assert found.counts.tolist() == [0, 0]


def test_an_empty_gallery_finds_nobody():
    gallery = Gallery([], MODEL, EXACT)

    found = gallery.search(np.ones((2, 5), np.float32), MODEL, 3)

    assert (gallery.size, found.face_ids.shape, found.counts.tolist()) == (0, (2, 3), [0, 0])


@pytest.mark.parametrize("recipe", [EXACT, IVF], ids=lambda recipe: recipe.factory)
def test_no_probes_give_no_lists(archive: Archive, recipe: IndexRecipe, tmp_path: Path):
    gallery = archive.gallery(tmp_path, recipe)

    found = gallery.search(np.empty((0, DIMENSION), np.float32), MODEL, 3)

    assert found.face_ids.shape == (0, 3)


def test_the_length_of_a_probe_does_not_matter(archive: Archive, tmp_path: Path):
    gallery = archive.gallery(tmp_path, EXACT)

    assert same(gallery.search(archive.probes, MODEL, 5), gallery.search(8 * archive.probes, MODEL, 5))


@pytest.fixture(scope="module")
def plain(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return archive.gallery(tmp_path_factory.mktemp("wrong"), EXACT)


@pytest.mark.parametrize("k", [0, -1])
def test_less_than_one_candidate_is_refused(plain: Gallery, archive: Archive, k: int):
    with pytest.raises(ConfigError, match="k must be at least 1"):
        plain.search(archive.probes, MODEL, k)


def test_probes_of_another_model_are_refused(plain: Gallery, archive: Archive):
    with pytest.raises(ModelMismatchError, match="demo@0123456789ab wanted, got other@1"):
        plain.search(archive.probes, ModelId("other@1"), 3)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_probe_that_is_not_finite_is_refused(plain: Gallery, archive: Archive, wrong: float):
    probes = archive.probes.copy()
    probes[4, 2] = wrong

    with pytest.raises(ShapeError, match="row 4"):
        plain.search(probes, MODEL, 3)


def test_a_probe_without_a_direction_is_refused(plain: Gallery):
    with pytest.raises(ShapeError, match="row 0"):
        plain.search(np.zeros((1, DIMENSION), np.float32), MODEL, 3)


@pytest.mark.parametrize(
    "probes", [np.ones((1, 31), np.float32), np.ones(DIMENSION, np.float32), np.ones((1, DIMENSION))]
)
def test_probes_of_another_shape_or_dtype_are_refused(plain: Gallery, probes: np.ndarray):
    with pytest.raises(ShapeError, match="probes must be float32"):
        plain.search(probes, MODEL, 3)


def test_shards_of_two_models_are_refused(archive: Archive, tmp_path: Path):
    shard = archive.gallery(tmp_path, EXACT).shards[0]

    with pytest.raises(ModelMismatchError):
        Gallery([shard], ModelId("other@1"), EXACT)


def test_shards_filled_from_two_trained_indexes_are_refused(archive: Archive, tmp_path: Path):
    other = train(IVF, archive.vectors.astype(np.float16))
    shards = [
        make_gallery(tmp_path / name, archive.ids[:99], archive.vectors[:99], IVF, trained).shards[0]
        for name, trained in (("one", archive.train(IVF)), ("two", other))
    ]

    with pytest.raises(DamagedError, match="shards of one kind wanted"):
        Gallery(shards, MODEL, IVF)


@pytest.fixture(scope="module")
def sharded(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return archive.gallery(tmp_path_factory.mktemp("rows"), EXACT, shards=3, tombstones=archive.ids[:5])


def test_rows_and_vectors_come_in_the_order_asked_for(sharded: Gallery, archive: Archive):
    wanted = np.random.default_rng(4).permutation(np.arange(5, FACES))[:200]

    rows = sharded.face_rows(archive.ids[wanted])
    vectors = sharded.vectors_of(archive.ids[wanted])

    assert rows["face_id"].to_pylist() == [bytes(one) for one in archive.ids[wanted]]
    np.testing.assert_array_equal(vectors, archive.vectors[wanted].astype(np.float16))


def test_a_face_asked_for_twice_comes_twice(sharded: Gallery, archive: Archive):
    rows = sharded.face_rows(archive.ids[[9, 8, 9]])

    assert rows["face_id"].to_pylist() == [bytes(archive.ids[n]) for n in (9, 8, 9)]


@pytest.mark.parametrize("ids", ["dead", "unknown"])
def test_faces_that_are_dead_or_unknown_are_refused(sharded: Gallery, archive: Archive, ids: str):
    wanted = archive.ids[:1] if ids == "dead" else random_ids(1, 77)

    with pytest.raises(DamagedError, match="1 faces wanted, 0 found"):
        sharded.face_rows(wanted)


def test_no_faces_give_an_empty_table(sharded: Gallery):
    assert sharded.face_rows(random_ids(0, 1)).num_rows == 0
    assert Gallery([], MODEL, EXACT).face_rows(random_ids(0, 1)).num_rows == 0
    assert sharded.vectors_of(random_ids(0, 1)).shape == (0, DIMENSION)


def test_what_ties_with_the_last_of_several_lists_is_left_out():
    inf = np.inf
    distances = np.array([[1, 4, 3, 4], [2, 2, 2, 2], [5, inf, inf, inf]], np.float32)

    chosen = nearest_of_all(distances, depth=3, k=1)

    assert chosen.tolist() == [[True, False, True, False], [True] * 4, [True, False, False, False]]


@pytest.fixture(scope="module")
def galleries(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> list[Gallery]:
    dead = archive.ids[::11]
    folder = tmp_path_factory.mktemp("filtered")
    return [archive.gallery(folder / str(n), IVF, shards=n, tombstones=dead) for n in (1, 3)]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5])
@pytest.mark.parametrize("exact_below", [0, 50_000])
def test_a_filter_finds_what_sorting_the_faces_it_leaves_finds(
    galleries: list[Gallery],
    archive: Archive,
    share: float,
    exact_below: int,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, "EXACT_BELOW", exact_below)
    chosen = np.random.default_rng(5).random(FACES) < share
    living = chosen & ~np.isin(archive.ids.view("S16"), archive.ids[::11].view("S16"))
    probes = l2_normalize(archive.probes)
    truth = naive_search(archive.ids[living], archive.vectors[living], probes, 10)[0]

    found = [one.search(archive.probes, MODEL, 10, 2, one.masks_of(archive.ids[chosen])) for one in galleries]

    assert same(*found)
    assert set(map(bytes, np.unique(found[0].face_ids))) <= {bytes(16), *map(bytes, archive.ids[living])}
    assert living.sum() == 0 or recall(found[0], truth) >= (1.0 if exact_below else 0.97)


def test_masks_of_other_shards_are_refused(galleries: list[Gallery], archive: Archive):
    masks = galleries[1].masks_of(archive.ids)

    with pytest.raises(ShapeError, match="a mask for each of 1 shards wanted, got 3"):
        galleries[0].search(archive.probes, MODEL, 3, allowed=masks)
    with pytest.raises(ShapeError, match="allowed must be bool"):
        galleries[0].search(archive.probes, MODEL, 3, allowed=[masks[0]])
