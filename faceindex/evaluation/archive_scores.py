"""Normalised scores of unlabelled pairs, as a search would give them.

A search compares somebody who is in no cohort with a face whose own person is left out of its mean. Pairs of an archive
are of people who may both be members: each is left out of both means.
Knows unit vectors; nothing of thresholds or files.
"""

import numpy as np
from numpy.typing import NDArray

from faceindex.evaluation.cohort import NOBODY, Cohort
from faceindex.evaluation.unlabelled_pairs import UnlabelledPairs


def normalised_scores(
    vectors: NDArray[np.float32], pairs: UnlabelledPairs, cohort: Cohort, members: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the normalised score of each pair, float64 (p,).

    Args:
        vectors: floats (n, d), unit length; only rows of pairs are read.
        pairs: of rows of them.
        cohort: of the archive.
        members: the member that each face is or shows, NOBODY where none is known, int64 (n,).
    """
    faces, place = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    around = cohort.surroundings(vectors[faces].astype(np.float32), members[faces])
    first, second = np.split(place, 2)
    total = np.zeros(len(pairs))
    for one, other in ((first, second), (second, first)):
        partner = members[faces[other]][:, None]
        without = (around.members[one, :-1] == partner) & (partner != NOBODY)
        total += around.means[one] - (without * around.reliefs[one]).sum(axis=1)
    return pairs.similarities(vectors) - cohort.normalisation.weight / 2 * total
