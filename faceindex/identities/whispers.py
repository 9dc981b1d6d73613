"""Chinese whispers (Biemann, TextGraphs 2006) with constraints: who is linked to most of a cluster joins it.

Every face begins with a label of its own. In a random order, each takes the label with the greatest sum of weights
among the faces it is linked to, until nobody changes. Named faces keep the label of their person. A face never takes a
label that a face holds which it must not be with.
Knows links and labels; nothing of vectors.
"""

import numpy as np
from numpy.typing import NDArray

from faceindex.faces.compiled import compiled
from faceindex.identities.graph import Edges

SWEEPS = 40
"""Most are done after eight."""

FREE = -1


def whispers(
    edges: Edges, fixed: NDArray[np.int64], apart: NDArray[np.int64], seed: int = 0, passes: int = SWEEPS
) -> NDArray[np.int64]:
    """Return the label of each face, int64 (n,): equal for faces of one cluster, its numbers mean nothing.

    Args:
        edges: of the n faces.
        fixed: person of each named face, counted from 0, and FREE for the others, int64 (n,).
        apart: pairs that are two people, int64 (p, 2); of two named faces the names decide.
        seed: of the order.
        passes: at most.
    """
    count = len(fixed)
    order = np.random.default_rng(seed).permutation(count)
    people = int(fixed.max(initial=FREE)) + 1
    labels = np.where(fixed == FREE, np.arange(count), 2 * count + fixed).astype(np.int64)
    both = np.concatenate([apart, apart[:, ::-1]]) if len(apart) else apart
    both = both[np.argsort(both[:, 0], kind="stable")]
    starts = np.searchsorted(both[:, 0], np.arange(count + 1))
    sums = np.zeros(2 * count + people)
    _whisper(edges.starts, edges.ends, edges.weights, fixed, starts, both[:, 1].copy(), order, labels, sums, passes)
    return _separated(labels, fixed, apart)


def _separated(labels: NDArray[np.int64], fixed: NDArray[np.int64], apart: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the labels; a face that came back to a label of its own which somebody had taken stands alone."""
    following = int(labels.max(initial=0)) + 1
    for one, other in apart[labels[apart[:, 0]] == labels[apart[:, 1]]].tolist() if len(apart) else ():
        face = one if fixed[one] == FREE else other
        if labels[one] == labels[other] and fixed[face] == FREE:
            labels[face] = following
            following += 1
    return labels


@compiled
def _whisper(  # noqa: C901 - one loop over faces; numba compiles it as a whole
    starts: NDArray[np.int64],
    ends: NDArray[np.int32],
    weights: NDArray[np.float32],
    fixed: NDArray[np.int64],
    apart_starts: NDArray[np.int64],
    apart: NDArray[np.int64],
    order: NDArray[np.int64],
    labels: NDArray[np.int64],
    sums: NDArray[np.float64],
    passes: int,
) -> None:
    count = len(order)
    for _ in range(passes):
        changed = 0
        for face in order:
            if fixed[face] >= 0:
                continue
            first, last = starts[face], starts[face + 1]
            for edge in range(first, last):
                sums[labels[ends[edge]]] += weights[edge]
            for index in range(apart_starts[face], apart_starts[face + 1]):
                sums[labels[apart[index]]] = -1.0
            best, most = -1, 0.0
            for edge in range(first, last):
                label = labels[ends[edge]]
                if sums[label] > most or (sums[label] == most and most > 0 and label < best):
                    best, most = label, sums[label]
            # Nobody to join: the own label, unless somebody who must not be here has taken it meanwhile.
            if best < 0 and sums[labels[face]] < 0:
                best = count + face if sums[count + face] == 0 else face
            for edge in range(first, last):
                sums[labels[ends[edge]]] = 0.0
            for index in range(apart_starts[face], apart_starts[face + 1]):
                sums[labels[apart[index]]] = 0.0
            if best >= 0 and best != labels[face]:
                labels[face] = best
                changed += 1
        if changed <= count * 1e-6:
            break
