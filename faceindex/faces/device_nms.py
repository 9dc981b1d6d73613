"""Non-maximum suppression on a GPU without asking it for sizes: `nms.nms` in torch, in buffers of fixed sizes.

Greedy suppression goes from the best box to the worst; a GPU would wait for itself at every step. The same boxes come
out of rounds in which all boxes are judged at once: a box stands if no better one that stands overlaps it too much.
The best box is right after no round, each further round makes at least one more right, and when a round changes
nothing, all are. A handful is enough for faces; how many boxes the last round changed is returned, so that the
caller can ask for more.
"""

import torch

from faceindex.faces.nms import TINY

ROUNDS = 16
"""Rounds at first. Of 43 photos, crowds among them, 28 needed at most five, one more than eight, and none all."""

MATRIX = 1 << 25
"""Pairs of boxes that are compared at once; a few dozen bytes each."""


def packed(chosen: torch.Tensor, room: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return where `chosen` is true, in a buffer of fixed size.

    Args:
        chosen: bool (n,).
        room: size of the buffer.

    Returns:
        positions int64 (room,), in order; which of them mean anything, bool (room,); and how many there are, int64,
        perhaps more than there is room for.
    """
    slots = chosen.cumsum(0)
    targets = torch.where(chosen & (slots <= room), slots - 1, room)
    positions = torch.zeros(room + 1, dtype=torch.int64, device=chosen.device)
    positions.scatter_(0, targets, torch.arange(len(chosen), device=chosen.device))
    return positions[:room], torch.arange(room, device=chosen.device) < slots[-1], slots[-1]


def ranked(owners: torch.Tensor, scores: torch.Tensor, *, last_first: bool = False) -> torch.Tensor:
    """Return the order by owner, best score first in each; of equal scores the first, or with `last_first` the last."""
    by_score = scores.argsort(descending=True, stable=True)
    if last_first:
        by_score = len(scores) - 1 - scores.flip(0).argsort(descending=True, stable=True)
    return by_score[owners[by_score].argsort(stable=True)]


def stand(
    boxes: torch.Tensor,
    owners: torch.Tensor,
    owner_count: int,
    threshold: float,
    *,
    room: int,
    rounds: int,
    smaller: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tell which boxes no better box of their owner overlaps too much.

    Args:
        boxes: float32 (n, 4), x0, y0, x1, y1, as `ranked` orders them.
        owners: int64 (n,), ascending; `owner_count` for boxes that mean nothing, which never stand.
        owner_count: how many owners there are.
        threshold: largest overlap that is let stand.
        room: boxes of an owner that can stand, the best ones.
        rounds: of judging.
        smaller: see `nms.nms`.

    Returns:
        bool (n,); how many boxes the owner with most has, int64; and how many the last round changed, int64.
    """
    starts = torch.searchsorted(owners, torch.arange(owner_count + 1, device=boxes.device))
    counts = starts.diff()
    places = starts[:-1, None] + torch.arange(room, device=boxes.device)
    real = places < starts[1:, None]
    places = torch.where(real, places, 0)
    standing, changed = [], torch.zeros((), dtype=torch.int64, device=boxes.device)
    step = max(1, MATRIX // room**2)
    for first in range(0, owner_count, step):
        part = slice(first, first + step)
        beaten = _overlap(boxes[places[part]], smaller=smaller) > threshold
        beaten = beaten.triu(1)  # by better boxes only
        keep = before = real[part]
        for _ in range(rounds):
            before, keep = keep, real[part] & ~(beaten & keep[:, :, None]).any(1)
        standing.append(keep)
        changed = changed + (keep != before).sum()
    stands = torch.zeros(len(boxes) + 1, dtype=torch.bool, device=boxes.device)
    # Boxes that mean nothing all write to the entry behind the last.
    stands[torch.where(real, places, len(boxes))] = torch.cat(standing)
    return stands[:-1], counts.max(), changed


def _overlap(boxes: torch.Tensor, *, smaller: bool) -> torch.Tensor:
    """Return the overlap of each pair of boxes (groups, n, 4) of a group, (groups, n, n)."""
    low, high = boxes[..., :2], boxes[..., 2:] + (1 if smaller else 0)
    sides = torch.minimum(high[:, :, None], high[:, None]) - torch.maximum(low[:, :, None], low[:, None])
    shared = sides.clamp(min=0).prod(-1)
    areas = (high - low).prod(-1)
    mine, others = areas[:, :, None], areas[:, None]
    whole = torch.minimum(mine, others) if smaller else mine + others - shared
    return shared / whole.clamp(min=float(TINY))
