import numpy as np
import pytest

from faceindex.gallery.planning import ShardPlan, plan_shards
from tests.support.galleries import random_ids

IDS = random_ids(1000, 1)


def check(plan: ShardPlan, live: np.ndarray, shards: dict[str, np.ndarray]) -> None:
    """What is kept and new, less the tombstones, is what is alive, each once."""
    merged = [shards[shard][np.isin(shards[shard].view("S16"), live.view("S16"))] for shard in plan.merge]
    held = np.concatenate([plan.fresh, *merged, *(shards[shard] for shard in plan.keep)]).view("S16")
    left = held[~np.isin(held, plan.dead.view("S16"))]
    assert sorted(left) == sorted(live.view("S16"))


def plan(live: np.ndarray, shards: dict[str, np.ndarray], **options: bool) -> ShardPlan:
    made = plan_shards(live, shards, **{"rebuild": False, "exact": False, "most_faces": 10**6, **options})
    check(made, live, shards)
    return made


@pytest.mark.parametrize("exact", [True, False])
def test_nothing_changed_builds_nothing(exact: bool):
    made = plan(IDS, {"a": IDS}, exact=exact)

    assert made.keep == ("a",)
    assert len(made.fresh) == len(made.dead) == 0


def test_few_new_faces_make_a_shard_of_their_own():
    made = plan(IDS, {"a": IDS[:600], "b": IDS[600:900]})

    assert made.keep == ("a", "b")
    assert made.fresh.tobytes() == IDS[900:].tobytes()


def test_a_new_shard_takes_in_those_it_would_be_half_of():
    made = plan(IDS, {"a": IDS[:850], "b": IDS[850:910], "c": IDS[910:950]})

    assert made.keep == ("a",)
    assert made.merge == ("b", "c")


def test_a_merged_shard_is_not_larger_than_may_be():
    made = plan(IDS, {"a": IDS[:850], "b": IDS[850:910], "c": IDS[910:950]}, most_faces=100)

    assert made.merge == ("c",)


@pytest.mark.parametrize("nights", [1, 2, 7, 30, 100])
def test_there_are_no_more_shards_than_doublings(nights: int):
    shards: dict[str, np.ndarray] = {}
    written = 0
    for night in range(1, nights + 1):
        live = IDS[: 10 * night]
        made = plan(live, shards)
        new = np.concatenate([made.fresh, *(shards[shard] for shard in made.merge)])
        shards = {name: shards[name] for name in made.keep} | {str(night): new}
        written += len(new)

    assert len(shards) <= 1 + np.log2(nights)
    assert written <= 10 * nights * (2 + np.log2(nights)), "a face is written again only when its shard doubles"


def test_compaction_leaves_one_shard_and_no_dead_faces():
    made = plan(IDS[5:], {"a": IDS[:600], "b": IDS[600:990], "c": IDS[990:]}, compact=True)

    assert made.keep == ()
    assert made.merge == ("a", "b", "c")
    assert len(made.dead) == 0


def test_compaction_of_one_clean_shard_does_nothing():
    assert plan(IDS, {"a": IDS}, compact=True).keep == ("a",)


def test_faces_that_are_gone_become_tombstones():
    made = plan(IDS[10:], {"a": IDS[:500], "b": IDS[500:]})

    assert made.keep == ("a", "b")
    assert sorted(made.dead.view("S16")) == sorted(IDS[:10].view("S16"))


def test_a_face_that_came_back_is_no_tombstone_and_not_built_again():
    made = plan(IDS, {"a": IDS})

    assert len(made.fresh) == len(made.dead) == 0


@pytest.mark.parametrize(("dead", "kept"), [(100, True), (101, False)])
def test_a_shard_with_more_than_a_fifth_dead_is_written_again(dead: int, kept: bool):
    made = plan(IDS[dead:], {"a": IDS[:500], "b": IDS[500:]}, most_faces=500)

    assert ("a" in made.keep) is kept
    assert "b" in made.keep


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
