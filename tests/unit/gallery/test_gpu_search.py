"""What runs on GPUs, held against the exact oracle; `StandIns` take their place where there are none."""

from pathlib import Path

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from faceindex.arrays import l2_normalize
from faceindex.errors import ConfigError, DamagedError, ModelMismatchError, ShapeError
from faceindex.gallery import gpu_search
from faceindex.gallery.build import train
from faceindex.gallery.exact import search_exact
from faceindex.gallery.gpu_search import GpuSearch, pays_from
from faceindex.gallery.gpus import Gpus
from faceindex.gallery.search import Gallery
from faceindex.types import CandidateLists, IndexRecipe, ModelId
from tests.support.galleries import MODEL, NO_IDS, answers, make_gallery, naive_search, random_ids
from tests.support.gpus import StandIns
from tests.support.people import synthetic_people

EXACT = IndexRecipe("exact")
COARSE = IndexRecipe("IVF16,PQ4x4fs", nprobe=1, rerank=1)
"""An index that loses much, so that its answers are told from exact ones."""

DIMENSION = 32
VECTORS = synthetic_people([4] * 750, seed=1, dimension=DIMENSION)[0]
IDS = np.random.default_rng(2).permutation(random_ids(len(VECTORS), 1))
DEAD = IDS[::5]
LIVING = np.delete(np.arange(len(IDS)), np.s_[::5])
PROBES = l2_normalize(VECTORS[:60] + np.random.default_rng(3).normal(0, 0.05, (60, DIMENSION)).astype(np.float32))


def exact(
    gallery: Gallery, probes: NDArray[np.float32], k: int, faces: NDArray[np.void] | None = None
) -> tuple[bytes, bytes]:
    """Return the answer of exact search among some live faces, or all: it is held against `naive_search` elsewhere."""
    masks = [None] * len(gallery.shards) if faces is None else gallery.masks_of(faces)
    pairs = zip(gallery.shards, masks, strict=True)
    blocks = (block for shard, mask in pairs for block in shard.blocks(shard.living(mask)))
    return told(search_exact(blocks, l2_normalize(probes), MODEL, k))


def told(found: CandidateLists) -> tuple[bytes, bytes]:
    return found.face_ids.tobytes(), found.similarities.tobytes()


def gallery_of(
    folder: Path, recipe: IndexRecipe, vectors: NDArray[np.float32] = VECTORS, *, shards: int = 1, dead: bool = True
) -> Gallery:
    ids = IDS[: len(vectors)]
    in_order = vectors[np.argsort(ids.view("S16"))].astype(np.float16)
    trained = train(recipe, in_order) if recipe != EXACT else None
    return make_gallery(folder, ids, vectors, recipe, trained, shards=shards, tombstones=DEAD if dead else NO_IDS)


@pytest.fixture(autouse=True)
def soon_and_in_parts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpu_search, "PART_BYTES", 500 * 2 * DIMENSION)
    monkeypatch.setattr(gpu_search, "START_SECONDS", 0.0)
    monkeypatch.setattr(gpu_search, "COPY_BYTES_PER_SECOND", np.inf)


@pytest.mark.parametrize("recipe", [EXACT, COARSE], ids=["exact", "index"])
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("free_gb", [(5.0,), (5.0, 6.0, 7.0)], ids=["1 gpu", "3 gpus"])
def test_gpus_answer_what_exact_search_answers(
    tmp_path: Path, recipe: IndexRecipe, shards: int, free_gb: tuple[float, ...]
):
    gpus, gallery = StandIns(*free_gb), gallery_of(tmp_path, recipe, shards=shards)
    searcher = GpuSearch(gallery, gpus)

    found = searcher.search(PROBES, MODEL, 10)

    assert told(found) == exact(gallery, PROBES, 10)
    assert answers(found)[0][:5] == naive_search(IDS[LIVING], VECTORS[LIVING], PROBES[:5], 10)[0]
    assert (searcher.served.on_gpus, searcher.served.on_cpu) == (len(PROBES), 0)
    assert {gpu for gpu, _ in gpus.made} == set(range(len(free_gb)))


def test_what_one_gpu_has_no_room_for_goes_to_another(tmp_path: Path):
    gpus, gallery = StandIns(4.00005, 5.0), gallery_of(tmp_path, EXACT)  # room for 789 faces of 68 bytes, and for all

    found = GpuSearch(gallery, gpus).search(PROBES, MODEL, 10)

    assert told(found) == exact(gallery, PROBES, 10)
    assert [gpu for gpu, _ in gpus.made].count(0) == 1
    assert len(gpus.made) == 5


@pytest.mark.parametrize("k", [1, 7, 600])
@pytest.mark.parametrize("share", [0.9, 0.3])
def test_a_filter_costs_no_results(tmp_path: Path, k: int, share: float):
    gallery = gallery_of(tmp_path, COARSE, shards=2)
    chosen = np.random.default_rng(4).random(len(IDS)) < share
    searcher = GpuSearch(gallery, StandIns(5.0))

    found = searcher.search(PROBES, MODEL, k, allowed=gallery.masks_of(IDS[chosen]))

    assert told(found) == exact(gallery, PROBES, k, IDS[chosen])
    assert searcher.served.on_gpus == (len(PROBES) if k / share < 680 else 0)


def test_a_filter_that_leaves_few_faces_is_searched_on_the_cpu(tmp_path: Path):
    gallery = gallery_of(tmp_path, COARSE)
    searcher = GpuSearch(gallery, StandIns(5.0))

    found = searcher.search(PROBES, MODEL, 10, allowed=gallery.masks_of(IDS[LIVING[:20]]))

    assert told(found) == exact(gallery, PROBES, 10, IDS[LIVING[:20]])
    assert (searcher.served.on_gpus, searcher.served.on_cpu) == (0, len(PROBES))


def test_a_filter_of_faces_unlike_the_probe_loses_none_of_them(tmp_path: Path):
    """The nearest of all hold none of them, so that more candidates, or the CPU, have to serve."""
    gallery = gallery_of(tmp_path, EXACT, dead=False)
    probe = PROBES[:1].repeat(60, axis=0)
    unlike = np.argsort(VECTORS @ probe[0])[:1500]

    found = GpuSearch(gallery, StandIns(5.0)).search(probe, MODEL, 5, allowed=gallery.masks_of(IDS[unlike]))

    assert told(found) == exact(gallery, probe, 5, IDS[unlike])


@pytest.mark.parametrize("copies", [40, 2500])
def test_faces_that_are_alike_stand_in_order_of_their_ids(tmp_path: Path, copies: int):
    vectors = VECTORS.copy()
    vectors[:copies] = vectors[0]
    gallery = gallery_of(tmp_path, EXACT, vectors, shards=2, dead=False)
    searcher = GpuSearch(gallery, StandIns(5.0, 5.0))
    probes = vectors[:1].repeat(60, axis=0)

    found = searcher.search(probes, MODEL, 12)

    assert told(found) == exact(gallery, probes, 12)
    assert (searcher.served.on_gpus > 0) == (copies < 2048)


def test_vectors_are_copied_once_that_pays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gpus, gallery = StandIns(5.0), gallery_of(tmp_path, COARSE)
    monkeypatch.setattr(gpu_search, "START_SECONDS", 48.5 * gpu_search.INDEX_CORE_SECONDS * gallery.size**0.5)
    searcher = GpuSearch(gallery, gpus)

    places = []
    for _ in range(52):
        found = searcher.search(PROBES[:1], MODEL, 5)
        places.append(bool(gpus.made))
        if not gpus.made:
            assert told(found) == told(gallery.search(PROBES[:1], MODEL, 5))

    assert places == [False] * 48 + [True] * 4
    assert (searcher.served.on_cpu, searcher.served.on_gpus) == (48, 4)


def test_many_probes_that_are_known_to_come_make_copies_pay_before_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    gallery = gallery_of(tmp_path, COARSE)
    monkeypatch.setattr(gpu_search, "START_SECONDS", 48.5 * gpu_search.INDEX_CORE_SECONDS * gallery.size**0.5)
    few, many = GpuSearch(gallery, StandIns(5.0)), GpuSearch(gallery, StandIns(5.0))
    few.expect(48)
    many.expect(49)

    for searcher in (few, many):
        searcher.search(PROBES[:1], MODEL, 5)

    assert (few.served.on_gpus, many.served.on_gpus) == (0, 1)


@pytest.mark.parametrize("recipe", [EXACT, COARSE], ids=["exact", "index"])
def test_a_few_pictures_never_pay_and_more_cores_make_it_pay_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: IndexRecipe
):
    monkeypatch.undo()
    gallery = gallery_of(tmp_path, recipe)

    assert pays_from(gallery, 1) > 100_000
    assert pays_from(gallery, 8) == 8 * pays_from(gallery, 1)


def test_vectors_that_do_not_fit_stay_on_the_cpu_and_it_is_said(tmp_path: Path):
    gallery = gallery_of(tmp_path, COARSE)
    gpus = StandIns(4.0, 4.0)
    searcher = GpuSearch(gallery, gpus)

    found = searcher.search(PROBES, MODEL, 10)

    assert answers(found) == answers(gallery.search(PROBES, MODEL, 10))
    assert not gpus.made
    assert searcher.served == gpu_search.Served(0, 60, "0.0 GB of vectors do not fit into the memory of 2 GPUs")


def test_a_gpu_that_fails_costs_no_answer(tmp_path: Path):
    gallery = gallery_of(tmp_path, EXACT)
    gpus = StandIns(5.0)
    searcher = GpuSearch(gallery, gpus)
    searcher.search(PROBES, MODEL, 10)
    gpus.made[-1][1].broken = True

    found = [searcher.search(PROBES, MODEL, 10) for _ in range(2)]

    assert [told(one) for one in found] == [exact(gallery, PROBES, 10)] * 2
    assert searcher.served == gpu_search.Served(60, 120, "Error in search: out of memory")


def test_a_damaged_vector_is_never_copied(tmp_path: Path):
    gallery = gallery_of(tmp_path, EXACT)
    path = next(tmp_path.rglob("vectors.npy"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(DamagedError, match=r"vectors\.npy is damaged"):
        GpuSearch(gallery, StandIns(5.0)).search(PROBES, MODEL, 10)


def test_what_the_gallery_refuses_is_refused(tmp_path: Path):
    searcher = GpuSearch(gallery_of(tmp_path, EXACT), StandIns(5.0))

    with pytest.raises(ConfigError):
        searcher.search(PROBES, MODEL, 0)
    with pytest.raises(ModelMismatchError):
        searcher.search(PROBES, ModelId("other@0"), 1)
    with pytest.raises(ShapeError):
        searcher.search(PROBES[:, :3].copy(), MODEL, 1)
    with pytest.raises(ShapeError):
        searcher.search(PROBES, MODEL, 1, allowed=[])


def test_an_empty_gallery_and_no_probes_need_no_gpu():
    gpus = StandIns(5.0)

    found = GpuSearch(Gallery([], MODEL, EXACT), gpus).search(PROBES, MODEL, 3)

    assert found.counts.tolist() == [0] * 60
    assert not gpus.made


def test_device_cpu_uses_no_gpus():
    assert Gpus("cpu").count == 0


@pytest.mark.gpu
@pytest.mark.skipif(not faiss.get_num_gpus(), reason="needs a GPU")
@pytest.mark.parametrize("recipe", [EXACT, COARSE], ids=["exact", "index"])
@pytest.mark.parametrize("k", [1, 10, 600])
def test_real_gpus_answer_what_exact_search_answers(tmp_path: Path, recipe: IndexRecipe, k: int):
    gallery = gallery_of(tmp_path, recipe, shards=2)
    searcher = GpuSearch(gallery, Gpus())

    found = searcher.search(PROBES, MODEL, k)

    assert told(found) == exact(gallery, PROBES, k)
    assert searcher.served.on_gpus == len(PROBES)
