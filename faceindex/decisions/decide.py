"""What a search concludes: of the candidates of each probe the best, its score, and how probable it is.

A person with several faces is compared by one embedding for all of them; any other face by itself. Scores are
normalised where the gallery tells what is usual. Similarities stay cosines: a threshold is told as the cosine that the
face in question would have needed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES, l2_normalize
from faceindex.decisions.calibration import Calibration
from faceindex.decisions.people import NOBODY
from faceindex.evaluation.thresholds import Threshold
from faceindex.gallery.search import Gallery
from faceindex.types import CandidateLists

FEWEST_CANDIDATES = 10
"""Among so many the one with the best score is found, as the order by score differs a little from that by cosine."""

FEWEST_OF_PEOPLE = 30
"""Among so many faces a person with several is found, whose mean is more similar than any one of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """What is concluded of each of q probes with c candidates."""

    identified: NDArray[np.bool_]
    """bool (q,)."""
    best: NDArray[np.int64]
    """The candidate that decides, int64 (q,); meaningless without candidates."""
    thresholds: NDArray[np.float64]
    """The cosine that it needed, or the first candidate where nobody is identified, float64 (q,)."""
    similarities: NDArray[np.float32]
    """What probes are compared with: cosines to the candidates, or their people's templates, float32 (q, c)."""
    probabilities: NDArray[np.float64]
    """Of each candidate that it shows the person searched for, NaN where unknown, float64 (q, c)."""
    margins: NDArray[np.float64]
    """By how much the best score exceeds that of the next person, NaN where that is unknown, float64 (q,)."""


def candidates_wanted(calibration: Calibration, k: int) -> int:
    """Return how many candidates a search needs for k of them to be shown."""
    return max(k, FEWEST_OF_PEOPLE if calibration.templates.names else FEWEST_CANDIDATES)


def decide(
    calibration: Calibration,
    gallery: Gallery,
    probes: NDArray[np.float32],
    found: CandidateLists,
    people: NDArray[np.object_],
    limit: Threshold,
    gallery_size: int,
) -> Decisions:
    """Decide each search.

    Args:
        calibration: of the generation.
        gallery: that was searched.
        probes: float32 (q, d), any length but zero.
        found: their candidates, `candidates_wanted` of them.
        people: names of the candidates' people, None where unknown, object (q, c).
        limit: from `Calibration.threshold`, or a cosine of the user's own.
        gallery_size: entries that the probes were compared with.
    """
    probes = l2_normalize(probes)
    there = np.arange(found.similarities.shape[1])[None] < found.counts[:, None]
    entries = _entries(calibration, gallery, probes, found, people, there)
    scores = np.where(there, _scores(calibration, probes, entries), -np.inf)
    own = limit.source == "user"
    deciding = np.where(there, found.similarities, -np.inf) if own else scores
    best = deciding.argmax(axis=1) if deciding.size else np.zeros(len(probes), np.int64)
    # Somebody's photo that nobody has named yet may be the best; a name that is good enough says more.
    reaching = np.where(entries.people != NOBODY, deciding, -np.inf)
    if deciding.size:
        best = np.where((reaching >= limit.value).any(axis=1), reaching.argmax(axis=1), best)
    rows = np.arange(len(probes))
    some = found.counts > 0
    identified = np.zeros(len(probes), np.bool_)
    identified[some] = deciding[rows[some], best[some]] >= limit.value
    thresholds = np.full(len(probes), limit.value)
    if not own:
        shown = np.where(identified, best, 0)[some]
        thresholds[some] += entries.similarities[rows[some], shown] - scores[rows[some], shown]
    margins = _margins(scores, best, entries.people)
    probabilities = _probabilities(calibration, scores, best, margins, entries.people, gallery_size)
    return Decisions(identified, best, thresholds, entries.similarities, probabilities, margins)


@dataclass(frozen=True, slots=True, eq=False)
class _Entries:
    """What candidates stand for: their person's template, or themselves."""

    similarities: NDArray[np.float32]
    """float32 (q, c)."""
    vectors: NDArray[np.float32]
    """Of the different ones, float32 (u, d)."""
    places: NDArray[np.int64]
    """In `vectors`, int64 (q, c)."""
    members: NDArray[np.int64]
    """The member of the cohort that each of `vectors` is, NOBODY where none is, int64 (u,)."""
    people: NDArray[np.int64]
    """Number of each candidate's person, NOBODY where unknown, int64 (q, c)."""


def _entries(
    calibration: Calibration,
    gallery: Gallery,
    probes: NDArray[np.float32],
    found: CandidateLists,
    people: NDArray[np.object_],
    there: NDArray[np.bool_],
) -> _Entries:
    templates = calibration.templates
    names = sorted({name for name in people[there].tolist() if name is not None})
    number = {name: index for index, name in enumerate(names)}
    numbers = np.array([number.get(name, NOBODY) for name in people.ravel().tolist()], np.int64).reshape(people.shape)
    numbers[~there] = NOBODY
    template_of = np.array([*(templates.places.get(name, NOBODY) for name in names), NOBODY], np.int64)
    ids, places = np.unique(found.face_ids[there].view(f"S{ID_BYTES}"), return_inverse=True)
    person_of_face = np.full(len(ids), NOBODY)
    person_of_face[places] = numbers[there]
    vectors = np.zeros((len(ids), probes.shape[1]), np.float32)
    template = template_of[person_of_face]
    several = template != NOBODY
    alone = np.flatnonzero(~several)
    vectors[alone] = l2_normalize(gallery.vectors_of(ids[alone].view(f"V{ID_BYTES}")))
    vectors[several] = templates.vectors[template[several]]
    members = np.full(len(ids), NOBODY)
    if calibration.members is not None:
        member_ids = calibration.members.face_ids.view(ids.dtype)
        by_id = {face: index for index, face in enumerate(member_ids.tolist())}
        by_name = {name: index for index, name in enumerate(calibration.members.people.tolist()) if name}
        of_person = np.array([*(by_name.get(name, NOBODY) for name in names), NOBODY], np.int64)
        of_face = np.array([by_id.get(face, NOBODY) for face in ids.tolist()], np.int64)
        members = np.where(of_face != NOBODY, of_face, of_person[person_of_face])
    all_places = np.zeros(there.shape, np.int64)
    all_places[there] = places
    similarities = found.similarities.copy()
    rows, columns = np.nonzero((template_of[numbers] != NOBODY) & there)
    similarities[rows, columns] = np.einsum("ij,ij->i", probes[rows], vectors[all_places[rows, columns]])
    return _Entries(similarities, vectors, all_places, members, numbers)


def _scores(calibration: Calibration, probes: NDArray[np.float32], entries: _Entries) -> NDArray[np.float32]:
    if calibration.members is None or not len(entries.vectors):
        return entries.similarities
    cohort = calibration.members.cohort
    of_probes = cohort.surroundings(probes)
    of_entries = cohort.surroundings(entries.vectors, entries.members)
    means = of_entries.means[entries.places]
    return cohort.scores(entries.similarities, of_probes, means, entries.members[entries.places])


def _margins(scores: NDArray[np.float32], best: NDArray[np.int64], people: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the distance to the next person where the best and somebody else are known, float64 (q,)."""
    if not scores.size:
        return np.full(len(scores), np.nan)
    rows = np.arange(len(scores))
    person = people[rows, best][:, None]
    others = np.where((people != person) & np.isfinite(scores), scores, -np.inf)
    following = others.max(axis=1)
    # A face without a name may show the best person once more: then nothing is known of the next.
    second = people[rows, others.argmax(axis=1)]
    known = (person[:, 0] != NOBODY) & (second != NOBODY) & np.isfinite(following)
    return np.where(known, scores[rows, best] - np.where(known, following, 0.0), np.nan).astype(np.float64)


def _probabilities(
    calibration: Calibration,
    scores: NDArray[np.float32],
    best: NDArray[np.int64],
    margins: NDArray[np.float64],
    people: NDArray[np.int64],
    gallery_size: int,
) -> NDArray[np.float64]:
    """Return the probability of each candidate; those of others than the best person share what he leaves."""
    if calibration.table is None or not scores.size:
        return np.full(scores.shape, np.nan)
    table = calibration.table.scores(normalised=calibration.members is not None)
    finite = np.where(np.isfinite(scores), scores, -1.0).astype(np.float64)
    rows = np.arange(len(scores))
    found = _logistic(table.identified, finite, gallery_size)
    by_margin = _logistic(table.identified_by_margin, finite[rows, best], gallery_size, np.nan_to_num(margins))
    top = np.where(np.isnan(margins), found[rows, best], by_margin)
    person = people[rows, best][:, None]
    same = (people == person) & (person != NOBODY)
    same[rows, best] = True
    other = ~same & (people != NOBODY) & (person != NOBODY)
    found = np.where(other, np.minimum(found, 1.0 - top[:, None]), found)
    return np.where(same, top[:, None], found)


def _logistic(
    fit: Mapping[str, float] | None,
    scores: NDArray[np.float64],
    gallery_size: int,
    margins: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.float64]:
    """Return what `ScoreTable.probability` does, of arrays; NaN where there is no fit."""
    if fit is None:
        return np.full(scores.shape, np.nan)
    size = fit["log_gallery_size"] * math.log(max(gallery_size, 1))
    log_odds = fit["intercept"] + fit["score"] * scores + size + fit.get("margin", 0.0) * margins
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * log_odds)), np.float64)
