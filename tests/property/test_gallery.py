import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from faceindex.arrays import l2_normalize
from faceindex.gallery.planning import plan_shards
from faceindex.types import IndexRecipe
from tests.support.galleries import MODEL, answers, make_gallery, naive_search, random_ids


@st.composite
def galleries(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Faces of few directions, so that many tie or nearly do."""
    count, dimension = draw(st.integers(1, 40)), draw(st.integers(1, 9))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    directions = generator.standard_normal((draw(st.integers(1, 8)), dimension)) + 0.1
    jitter = draw(st.sampled_from([0.0, 1e-4, 1e-3, 1.0])) * generator.standard_normal((count, dimension))
    vectors = directions[generator.integers(0, len(directions), count)] + jitter
    return generator.permutation(random_ids(count, draw(st.integers(0, 99)))), l2_normalize(vectors.astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(galleries(), st.data())
def test_exact_search_equals_sorting_everything(faces: tuple[np.ndarray, np.ndarray], data: st.DataObject):
    ids, vectors = faces
    k = data.draw(st.integers(1, 45))
    dead = np.array(data.draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids))), bool)
    shards = data.draw(st.integers(1, min(4, len(ids))))
    probes = np.concatenate([vectors[:3], -vectors[:1]])

    with tempfile.TemporaryDirectory() as folder:
        recipe = IndexRecipe("exact")
        gallery = make_gallery(Path(folder), ids, vectors, recipe, shards=shards, tombstones=ids[dead])
        found = gallery.search(probes, MODEL, k)

    assert answers(found) == naive_search(ids[~dead], vectors[~dead], l2_normalize(probes), k)
    assert gallery.size == (~dead).sum()


faces = st.sets(st.integers(0, 60))


@settings(deadline=None)
@given(faces, st.lists(faces, max_size=10), st.booleans(), st.booleans(), st.booleans(), st.integers(1, 70))
def test_shards_less_tombstones_are_the_live_faces_whatever_was_there(
    live: set[int], held: list[set[int]], rebuild: bool, exact: bool, compact: bool, most_faces: int
):
    ids = random_ids(61, 1)
    owned: set[int] = set()
    shards = {}
    for number, part in enumerate(held):
        shards[str(number)] = ids[sorted(part - owned)]
        owned |= part

    plan = plan_shards(ids[sorted(live)], shards, rebuild=rebuild, exact=exact, most_faces=most_faces, compact=compact)

    alive = ids[sorted(live)].view("S16")
    merged = [shards[shard][np.isin(shards[shard].view("S16"), alive)] for shard in plan.merge]
    after = np.concatenate([plan.fresh, *merged, *(shards[shard] for shard in plan.keep)]).view("S16")
    left = after[~np.isin(after, plan.dead.view("S16"))]
    assert sorted(left) == sorted(ids[sorted(live)].view("S16"))
