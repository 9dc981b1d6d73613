"""Which shards stay, which faces go into a new one, and which are dead."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES

MOST_SHARDS = 8
MOST_DEAD_SHARE = 0.2
"""More shards, or a shard with more dead faces than this share, and everything is built into one."""


@dataclass(frozen=True, slots=True, eq=False)
class ShardPlan:
    """What a publish does with the shards."""

    keep: tuple[str, ...]
    fresh: NDArray[np.void]
    """V16: live faces that no kept shard has; they make one new shard."""
    dead: NDArray[np.void]
    """V16: faces of kept shards that are no longer live."""


def plan_shards(
    live: NDArray[np.void], shards: Mapping[str, NDArray[np.void]], *, rebuild: bool, exact: bool
) -> ShardPlan:
    """Return what to do so that the shards hold exactly the live faces.

    An exact gallery is one shard, kept while its faces are exactly the live ones. An indexed one keeps its shards,
    puts new faces into one more, and marks dead ones.

    Args:
        live: V16, ids of all live faces, each once.
        shards: by shard id, the V16 ids of its faces.
        rebuild: build everything anew.
        exact: the gallery has no index.
    """
    now = live.view(f"S{ID_BYTES}")
    held = {shard: ids.view(f"S{ID_BYTES}") for shard, ids in shards.items()}
    dead = {shard: ids[~np.isin(ids, now)] for shard, ids in held.items()}
    present = np.concatenate([np.empty(0, f"S{ID_BYTES}"), *held.values()])
    fresh = now[~np.isin(now, present)]
    too_dead = any(len(dead[shard]) > MOST_DEAD_SHARE * len(held[shard]) for shard in held)
    too_many = len(held) + bool(len(fresh)) > MOST_SHARDS
    stale = exact and (len(held) != 1 or len(fresh) or any(len(ids) for ids in dead.values()))
    if rebuild or too_dead or too_many or stale:
        return ShardPlan((), live, np.empty(0, f"V{ID_BYTES}"))
    gone = np.concatenate([np.empty(0, f"S{ID_BYTES}"), *dead.values()])
    return ShardPlan(tuple(held), fresh.view(f"V{ID_BYTES}"), gone.view(f"V{ID_BYTES}"))
