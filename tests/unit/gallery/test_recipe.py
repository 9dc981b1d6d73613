import pytest

from faceindex.errors import ConfigError
from faceindex.gallery.recipe import choose_recipe, faces_needed, outdated
from faceindex.types import IndexRecipe

MANY = 10_000_000


def test_a_gallery_is_exact_below_fifty_thousand_faces():
    assert choose_recipe(49_999, 128) == IndexRecipe("exact")


@pytest.mark.parametrize(
    ("faces", "factory", "nprobe"),
    [
        (50_000, "IVF1024,PQ64x4fs", 160),
        (100_000, "IVF1024,PQ64x4fs", 160),
        (1_000_000, "IVF4096,PQ64x4fs", 320),
        (10_000_000, "IVF16384,PQ64x4fs", 640),
    ],
)
def test_lists_are_some_four_times_the_square_root_of_the_faces(faces: int, factory: str, nprobe: int):
    assert choose_recipe(faces, 128) == IndexRecipe(factory, nprobe, rerank=20)


@pytest.mark.parametrize("faces", [50_000, 65_536, 99_999, 262_144, 3_000_000])
def test_an_automatic_index_always_has_enough_faces_to_train(faces: int):
    factory = choose_recipe(faces, 128).factory

    assert factory != "exact"
    assert faces_needed(factory, 128) <= faces


@pytest.mark.parametrize(
    ("dimension", "codes"), [(96, "PQ48x4fs"), (512, "PQ128x4fs"), (127, "SQ8"), (7, "SQ8"), (1, "PQ1x4fs")]
)
def test_codes_divide_the_dimension(dimension: int, codes: str):
    recipe = choose_recipe(100_000, dimension)

    assert recipe.factory == f"IVF1024,{codes}"
    assert faces_needed(recipe.factory, dimension) <= 100_000


@pytest.mark.parametrize("index", ["exact", "Flat"])
def test_exact_can_be_asked_for_at_any_size(index: str):
    assert choose_recipe(MANY, 128, index) == IndexRecipe("exact")


@pytest.mark.parametrize(
    "index",
    [
        "IVF64,PQ16x4fs",
        "IVF64,SQ8",
        "IVF64,Flat",
        "OPQ16_64,IVF64,PQ16x4fs",
        "IVF256_HNSW32,PQ16",
        "HNSW16",
        "HNSW16,SQ8",
    ],
)
def test_a_factory_string_is_taken_as_it_is(index: str):
    recipe = choose_recipe(MANY, 128, index)

    assert recipe.factory == index
    assert recipe.rerank >= 2


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ("no such index", "could not parse index string no such index"),
        ("IVF64,PQ7x4fs", "should be a multiple of the number of subquantizers"),
        ("IVF64,PQ16x4fs,RFlat", "leave out RFlat"),
        ("IDMap,IVF64,Flat", "leave out RFlat, Refine and IDMap"),
        ("PQ16x4fs", "an inverted file"),
        ("LSH", "an inverted file"),
        ("NSG32", "an inverted file"),
        ("IVF64,ITQ,SH", "an inverted file"),
        ("", "could not parse"),
        ("IVF0,Flat", "an inverted file"),
        ("IVF16,PQ16+8", "an inverted file"),
    ],
)
def test_an_index_that_cannot_serve_is_refused_in_one_line_before_any_face_is_there(index: str, reason: str):
    with pytest.raises(ConfigError, match=reason) as caught:
        choose_recipe(0, 128, index)

    assert "\n" not in str(caught.value)
    assert repr(index) in str(caught.value)


@pytest.mark.parametrize(
    ("index", "needed"), [("IVF64,PQ16x4fs", 4 * 64), ("IVF64,PQ16", 4 * 256), ("OPQ16_64,IVF64,PQ16x4fs", 4 * 256)]
)
def test_an_index_that_is_asked_for_waits_until_there_are_enough_faces_to_train_it(index: str, needed: int):
    assert faces_needed(index, 128) == needed
    assert choose_recipe(needed - 1, 128, index) == IndexRecipe("exact")
    assert choose_recipe(needed, 128, index).factory == index


def test_a_graph_without_codes_needs_no_training():
    assert choose_recipe(1, 128, "HNSW16").factory == "HNSW16"


@pytest.mark.parametrize(
    ("served", "faces", "index", "answer"),
    [
        ("exact", 49_999, "auto", False),
        ("exact", 50_000, "auto", True),
        ("IVF1024,PQ64x4fs", 1_000_000, "auto", False),
        ("IVF1024,PQ64x4fs", 49_999, "auto", True),
        ("IVF1024,PQ64x4fs", 100_000, "exact", True),
        ("IVF64,PQ16x4fs", 100_000, "IVF64,PQ16x4fs", False),
        ("IVF64,PQ16x4fs", 100_000, "IVF128,PQ16x4fs", True),
    ],
)
def test_an_index_is_outdated_when_another_kind_is_wanted_not_when_the_gallery_grew_a_little(
    served: str, faces: int, index: str, answer: bool
):
    assert outdated(IndexRecipe(served), faces, 128, index) is answer


def test_a_forced_index_goes_when_auto_is_asked_for_again():
    forced = IndexRecipe("IVF256,Flat", nprobe=16, rerank=2)
    grown = IndexRecipe("IVF1024,PQ64x4fs", nprobe=160, rerank=10)

    assert outdated(forced, MANY, 128, "auto")
    assert not outdated(grown, MANY, 128, "auto"), "more faces alone do not make an index outdated"


def test_parts_of_the_operating_point_that_were_asked_for_are_taken():
    recipe = choose_recipe(MANY, 128, "IVF64,PQ16x4fs;nprobe=7;rerank=3")

    assert recipe == IndexRecipe("IVF64,PQ16x4fs", 7, 3)
    assert choose_recipe(1_000_000, 128, "auto;nprobe=64").nprobe == 64
    assert outdated(recipe, MANY, 128, "IVF64,PQ16x4fs;nprobe=8")
    assert not outdated(recipe, MANY, 128, "IVF64,PQ16x4fs;rerank=3")


def test_another_recall_asked_for_makes_an_index_outdated():
    recipe = choose_recipe(MANY, 128, "auto;recall=0.8")

    assert recipe.recall == 0.8
    assert not outdated(recipe, MANY, 128, "auto;recall=0.8")
    assert outdated(recipe, MANY, 128, "auto;recall=0.9")
    assert outdated(recipe, MANY, 128, "auto")


@pytest.mark.parametrize("index", ["auto;nprobe=64", "exact", "auto;recall=0.8"])
def test_an_index_chosen_by_itself_needs_no_number_of_faces(index: str):
    assert faces_needed(index, 128) == 0


@pytest.mark.parametrize(
    "index",
    [
        *("auto;nprobe", "auto;nprobe=0", "auto;lists=4", "auto;nprobe=-1", "auto;rerank=x", "auto;recall=1"),
        *("auto;recall=90%", "auto;memory=9", "auto;memory=9PB", "auto;", "auto;nprobe=1;"),
    ],
)
def test_parts_that_are_not_known_are_refused(index: str):
    with pytest.raises(ConfigError, match=r"FACTORY\[;nprobe=N\]\[;rerank=N\]\[;recall=0\.9\]\[;memory=500MB\], got"):
        choose_recipe(MANY, 128, index)


@pytest.mark.parametrize(
    ("megabytes", "factory"),
    [(None, "IVF4096,PQ64x4fs"), (40, "IVF4096,PQ64x4fs"), (24, "IVF4096,PQ32x4fs"), (12, "OPQ8,IVF4096,PQ8x4fs")],
)
def test_less_memory_takes_shorter_codes(megabytes: int | None, factory: str):
    assert choose_recipe(10**6, 128, f"auto;memory={megabytes}MB" if megabytes else "auto").factory == factory


def test_less_memory_than_any_index_takes_is_refused():
    with pytest.raises(ConfigError, match="takes 9 MB at least, 8 MB given"):
        choose_recipe(10**6, 128, "auto;memory=0.008GB")


def test_the_centroids_of_very_many_lists_are_a_graph():
    assert choose_recipe(100_000_000, 128).factory == "IVF32768_HNSW32,PQ64x4fs"
