"""Which shards stay, which are merged, which faces go into a new one, and which are dead.

Shards grow in tiers, as in a log-structured merge tree: a new shard takes in every older one that is not much larger
than what it takes in already. So a face is written again only when its shard doubles, a nightly run touches little, and
there are no more shards than doublings between a night's faces and the whole gallery.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES
from faceindex.gallery.ids import places_among

MOST_DEAD_SHARE = 0.2
"""A shard with more dead faces than this share is written again without them."""

TIER_RATIO = 2
"""A new shard takes in an older one that has fewer than this many times its faces."""


@dataclass(frozen=True, slots=True, eq=False)
class ShardPlan:
    """What a publish does with the shards."""

    keep: tuple[str, ...]
    merge: tuple[str, ...]
    """Shards whose live faces go into a new shard, with the fresh ones."""
    fresh: NDArray[np.void]
    """V16, ascending: live faces that no kept or merged shard has."""
    dead: NDArray[np.void]
    """V16: faces of kept shards that are no longer live."""


def plan_shards(
    live: NDArray[np.void],
    shards: Mapping[str, NDArray[np.void]],
    *,
    rebuild: bool,
    exact: bool,
    most_faces: int,
    compact: bool = False,
) -> ShardPlan:
    """Return what to do so that the shards hold exactly the live faces.

    An exact gallery is one shard, kept while its faces are exactly the live ones.

    Args:
        live: V16, ids of all live faces, each once, ascending.
        shards: by shard id, the V16 ids of its faces.
        rebuild: build everything anew.
        exact: the gallery has no index.
        most_faces: of a shard that others are merged into.
        compact: merge all that fits into one shard, and drop all dead faces.
    """
    now = live.view(f"S{ID_BYTES}")
    held = {shard: ids.view(f"S{ID_BYTES}") for shard, ids in shards.items()}
    places = {shard: places_among(ids, now) for shard, ids in held.items()}
    dead = {shard: ids[places[shard] < 0] for shard, ids in held.items()}
    missing = np.ones(len(now), bool)
    for place in places.values():
        missing[place[place >= 0]] = False
    fresh = now[missing]
    stale = exact and (len(held) != 1 or len(fresh) or any(len(ids) for ids in dead.values()))
    if rebuild or stale:
        return ShardPlan((), (), live, np.empty(0, f"V{ID_BYTES}"))
    living = {shard: len(held[shard]) - len(dead[shard]) for shard in held}
    least_dead = 0.0 if compact else MOST_DEAD_SHARE
    merge = {shard for shard in held if not living[shard] or len(dead[shard]) > least_dead * len(held[shard])}
    growing = len(fresh) + sum(living[shard] for shard in merge)
    for shard in sorted(set(held) - merge, key=lambda shard: (living[shard], shard)):
        if growing + living[shard] <= most_faces and (compact or living[shard] < TIER_RATIO * growing):
            merge.add(shard)
            growing += living[shard]
    if len(merge) == 1 and not len(fresh) and not any(len(dead[shard]) for shard in merge):
        merge.clear()  # there was nothing to merge it with
    keep = tuple(shard for shard in held if shard not in merge)
    gone = np.concatenate([np.empty(0, f"S{ID_BYTES}"), *(dead[shard] for shard in keep)])
    together = tuple(shard for shard in held if shard in merge)
    return ShardPlan(keep, together, fresh.view(f"V{ID_BYTES}"), gone.view(f"V{ID_BYTES}"))
