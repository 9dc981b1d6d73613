import numpy as np
import pytest

from faceindex.gallery.planning import ShardPlan, plan_shards
from tests.support.galleries import random_ids

IDS = random_ids(1000, 1)


def check(plan: ShardPlan, live: np.ndarray, shards: dict[str, np.ndarray]) -> None:
    """What is kept and new, less the tombstones, is what is alive, each once."""
    held = np.concatenate([plan.fresh, *(shards[shard] for shard in plan.keep)]).view("S16")
    left = held[~np.isin(held, plan.dead.view("S16"))]
    assert sorted(left) == sorted(live.view("S16"))


def plan(live: np.ndarray, shards: dict[str, np.ndarray], *, rebuild: bool = False, exact: bool = False) -> ShardPlan:
    made = plan_shards(live, shards, rebuild=rebuild, exact=exact)
    check(made, live, shards)
    return made


@pytest.mark.parametrize("exact", [True, False])
def test_nothing_changed_builds_nothing(exact: bool):
    made = plan(IDS, {"a": IDS}, exact=exact)

    assert made.keep == ("a",)
    assert len(made.fresh) == len(made.dead) == 0


def test_new_faces_make_one_new_shard():
    made = plan(IDS, {"a": IDS[:500], "b": IDS[500:900]})

    assert made.keep == ("a", "b")
    assert made.fresh.tobytes() == IDS[900:].tobytes()


def test_faces_that_are_gone_become_tombstones():
    made = plan(IDS[10:], {"a": IDS[:500], "b": IDS[500:]})

    assert made.keep == ("a", "b")
    assert sorted(made.dead.view("S16")) == sorted(IDS[:10].view("S16"))


def test_a_face_that_came_back_is_no_tombstone_and_not_built_again():
    made = plan(IDS, {"a": IDS})

    assert len(made.fresh) == len(made.dead) == 0


@pytest.mark.parametrize(("dead", "kept"), [(100, True), (101, False)])
def test_a_shard_with_more_than_a_fifth_dead_is_built_anew_with_all_others(dead: int, kept: bool):
    made = plan(IDS[dead:], {"a": IDS[:500], "b": IDS[500:]})

    assert bool(made.keep) is kept


@pytest.mark.parametrize(("count", "kept"), [(7, True), (8, False)])
def test_a_ninth_shard_builds_everything_into_one(count: int, kept: bool):
    shards = {str(n): IDS[100 * n : 100 * n + 100] for n in range(count)}

    made = plan(IDS[: 100 * count + 1], shards)

    assert bool(made.keep) is kept
    assert len(made.fresh) == (1 if kept else 801)


@pytest.mark.parametrize(
    ("live", "shards"),
    [
        (IDS, {"a": IDS[1:]}),
        (IDS[1:], {"a": IDS}),
        (IDS, {"a": IDS[:500], "b": IDS[500:]}),
        (IDS, {}),
    ],
)
def test_an_exact_gallery_is_one_shard_of_exactly_the_live_faces(live: np.ndarray, shards: dict[str, np.ndarray]):
    made = plan(live, shards, exact=True)

    assert made.keep == ()
    assert len(made.fresh) == len(live)


def test_a_rebuild_keeps_nothing():
    assert plan(IDS, {"a": IDS}, rebuild=True).keep == ()


def test_no_faces_need_no_shard():
    made = plan(IDS[:0], {})

    assert made.keep == ()
    assert len(made.fresh) == 0
