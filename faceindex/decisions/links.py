"""Which faces of different clusters may be one person all the same, and which of one cluster may not be.

Found when faces are clustered, and kept with the clusters: questions are made of them when somebody is there to answer.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceindex.decisions.calibration import Calibration
from faceindex.identities.graph import Neighbours
from faceindex.tables import LINKS, to_id_column

CLUSTERS_OF_A_FACE = 3
"""Other clusters that a face is linked with at most."""

LEAST = -3.0
"""Log-odds from which on a link is worth keeping; one in twenty. Below, one in two hundred is right."""

DOUBTED = 0.18
"""Probability that the two parts of a cluster are one person, below which it is asked about: of ten such clusters of
LFW four are two people's, of the next ten none."""

FEWEST = 3
"""Faces of a cluster that can be seen to be two people's."""

TURNS = 10
"""Rounds of dividing a cluster in two; few are needed."""


def links(
    calibration: Calibration, neighbours: Neighbours, labels: NDArray[np.int64], face_ids: NDArray[np.void]
) -> pa.Table:
    """Return the links of the faces, `tables.LINKS`: between clusters, and across the parts of doubtful ones.

    Args:
        calibration: of the generation; without a table of the model there are no links.
        neighbours: of all faces, or of those whose links are wanted, and those across the parts of their clusters.
        labels: cluster of each face, numbers without a meaning, int64 (n,).
        face_ids: V16 (n,).
    """
    if calibration.table is None or not len(labels):
        return LINKS.empty_table()
    labels = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    cohort = calibration.members.cohort if calibration.members else None
    fit = calibration.table.scores(normalised=cohort is not None).identified
    if fit is None:
        return LINKS.empty_table()
    reduction = np.zeros(len(labels), np.float32)
    asked = np.unique(labels[neighbours.faces])
    if cohort is not None:
        held = np.isin(labels, asked)
        held[neighbours.places[neighbours.places >= 0]] = True
        surroundings = cohort.surroundings(neighbours.vectors[held])
        reduction[held] = np.float32(cohort.normalisation.weight / 2) * surroundings.means
    offset = fit["intercept"] + fit["log_gallery_size"] * float(np.log(labels.max() + 1))
    between = _between(neighbours, labels, reduction, fit["score"], offset)
    within = _within(neighbours.vectors, labels, asked, reduction, fit["score"], offset)
    one, other, log_odds = (np.concatenate(column) for column in zip(between, within, strict=True))
    columns = [
        to_id_column(face_ids[one]),
        to_id_column(face_ids[other]),
        pa.array(log_odds.astype(np.float32)),
        pa.array(labels[one] == labels[other]),
    ]
    return pa.table(columns, schema=LINKS)


_Rows = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def _between(
    neighbours: Neighbours, labels: NDArray[np.int64], reduction: NDArray[np.float32], slope: float, offset: float
) -> _Rows:
    """Return each face's best link to each of the few likeliest other clusters."""
    faces, near = neighbours.faces, np.maximum(neighbours.places, 0)
    scores = neighbours.cosines - reduction[faces][:, None] - reduction[near]
    log_odds = offset + slope * scores.astype(np.float64)
    kept = (neighbours.places >= 0) & (labels[near] != labels[faces][:, None]) & (log_odds >= LEAST)
    row, column = np.nonzero(kept)
    one, other, found = faces[row], near[row, column].astype(np.int64), log_odds[row, column]
    order = np.lexsort((other, -found, labels[other], one))
    one, other, found = one[order], other[order], found[order]
    best = np.ones(len(one), bool)
    best[1:] = (one[1:] != one[:-1]) | (labels[other[1:]] != labels[other[:-1]])
    one, other, found = one[best], other[best], found[best]
    order = np.lexsort((other, -found, one))
    one, other, found = one[order], other[order], found[order]
    rank = np.arange(len(one)) - np.searchsorted(one, one)
    few = rank < CLUSTERS_OF_A_FACE
    return one[few], other[few], found[few]


def _within(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    asked: NDArray[np.int64],
    reduction: NDArray[np.float32],
    slope: float,
    offset: float,
) -> _Rows:
    """Return the faces of the smaller part of each doubtful cluster, each with the nearest of the larger part."""
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    starts = np.cumsum(sizes) - sizes
    rows: list[_Rows] = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for label in asked[sizes[asked] >= FEWEST].tolist():
        faces = order[starts[label] : starts[label] + sizes[label]]
        inside, less = vectors[faces], reduction[faces]
        part = _halves(inside, less)
        across = float(inside[part].mean(axis=0) @ inside[~part].mean(axis=0) - less[part].mean() - less[~part].mean())
        log_odds = offset + slope * across
        if log_odds < np.log(DOUBTED / (1 - DOUBTED)):
            nearest = (inside[part] @ inside[~part].T - less[~part]).argmax(axis=1)
            rows.append((faces[part], faces[~part][nearest], np.full(int(part.sum()), log_odds)))
    one, other, found = (np.concatenate(column) for column in zip(*rows, strict=True))
    return one, other, found


def _halves(vectors: NDArray[np.float32], reduction: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the smaller of two parts of a cluster that are least alike, bool (n,), by means that move."""
    centred = vectors - vectors.mean(axis=0)
    # Where the faces spread most: by the small of two matrices, which for most clusters is that of faces.
    if len(vectors) < vectors.shape[1]:
        part = np.linalg.eigh(centred @ centred.T)[1][:, -1] > 0
    else:
        part = centred @ np.linalg.eigh(centred.T @ centred)[1][:, -1] > 0
    for _ in range(TURNS):
        if part.all() or not part.any():
            break
        towards, away = (vectors @ vectors[side].mean(axis=0) - reduction[side].mean() for side in (part, ~part))
        moved = towards > away
        if (moved == part).all():
            break
        part = moved
    if part.all() or not part.any():
        part = np.arange(len(vectors)) == (vectors @ vectors.mean(axis=0) - reduction).argmin()
    return np.asarray(part if part.sum() * 2 <= len(part) else ~part, np.bool_)
