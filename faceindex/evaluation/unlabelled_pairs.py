"""Pairs of faces that nobody has labelled and that are of two people all the same, nearly always.

Faces drawn from the whole archive are two people, once those that seem to be one person are reduced to one. Faces of
one photo are two people, unless it is a collage, has a mirror in it, or one face was found twice; but they share light,
camera and occasion and are more alike than the people of two photos, whom searches compare. Either way errs to the
strict side. Knows photos, boxes and unit vectors; nothing of thresholds.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import ShapeError

ENOUGH_FACES = 200
ENOUGH_PAIRS = 500
"""What a fit needs."""

MOST_PHOTOS = 4000
"""Photos that are looked at, drawn at random."""

MOST_FACES = 4000
"""Faces that are looked at where pairs are drawn from the whole archive."""

PHOTO_FACES = 8
"""Faces looked at in one photo, drawn at random where it shows a crowd: 60 faces would make 1,770 pairs."""

GROUP_FACES = 16
"""Faces of the whole archive are compared in groups of so many, as if they stood in one photo: each is worth as much
as in all pairs, nearly, and groups without a face in common can be resampled."""

BLOCK_ROWS = 512


@dataclass(frozen=True, slots=True, eq=False)
class UnlabelledPairs:
    """Pairs of faces, by their rows."""

    first: NDArray[np.int64]
    """int64 (p,)."""
    second: NDArray[np.int64]
    """int64 (p,)."""
    groups: NDArray[np.int64]
    """The photo, or the group of faces, each pair is of, int64 (p,): pairs of one are not independent."""
    in_photos: bool
    """Whether the two faces of each pair stand in one photo."""

    def __len__(self) -> int:
        return len(self.first)

    @property
    def face_count(self) -> int:
        return len(np.union1d(self.first, self.second))

    @property
    def enough(self) -> bool:
        """Whether a fit can be made of them."""
        return len(self) >= ENOUGH_PAIRS and self.face_count >= ENOUGH_FACES

    def similarities(self, vectors: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the cosine of each pair, float64 (p,).

        Args:
            vectors: floats (n, d), unit length; only rows of pairs are read.
        """
        cosines = np.empty(len(self))
        for start in range(0, len(self), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            first, second = (vectors[side[rows]].astype(np.float32) for side in (self.first, self.second))
            cosines[rows] = np.einsum("ij,ij->i", first, second)
        return cosines


def unlabelled_pairs(
    photo_ids: NDArray[Any],
    boxes: NDArray[np.floating[Any]],
    vectors: NDArray[np.floating[Any]],
    alike: float,
    seed: int = 0,
) -> UnlabelledPairs:
    """Return pairs from the whole archive, or within photos where only those are enough.

    Arguments and errors are those of `in_photo_pairs`.
    """
    everywhere = distinct_pairs(vectors, alike, seed)
    if everywhere.enough:
        return everywhere
    within = in_photo_pairs(photo_ids, boxes, vectors, alike, seed)
    return within if within.enough else everywhere


def in_photo_pairs(
    photo_ids: NDArray[Any],
    boxes: NDArray[np.floating[Any]],
    vectors: NDArray[np.floating[Any]],
    alike: float,
    seed: int = 0,
) -> UnlabelledPairs:
    """Return pairs of faces of one photo whose boxes do not touch, each pair of people once.

    Faces at least as similar as `alike` count as one person: they are no pair, and the couple that stands in a hundred
    photos, or in a burst of ten, is one pair and not a hundred.

    Args:
        photo_ids: what each face's photo is known by, (n,), of a type that can be sorted, such as S16.
        boxes: floats (n, 4): x0, y0, x1, y1.
        vectors: floats (n, d), unit length; only rows of the photos drawn are read.
        alike: cosine that hardly any two people reach, such as that of an FMR of 1e-5.
        seed: of the choice of photos, faces and pairs.

    Raises:
        ShapeError: the arrays are not of one length.
    """
    if not len(photo_ids) == len(boxes) == len(vectors):
        raise ShapeError(
            f"photo ids, boxes and vectors of as many faces wanted, got {len(photo_ids)}, {len(boxes)}, {len(vectors)}"
        )
    generator = np.random.default_rng(seed)
    photos, counts = np.unique(photo_ids, return_inverse=True, return_counts=True)[1:]
    several = generator.permutation(np.flatnonzero(counts >= 2))[:MOST_PHOTOS]
    shuffled = generator.permutation(np.flatnonzero(np.isin(photos, several)))
    faces = shuffled[np.argsort(photos[shuffled], kind="stable")]
    place = _places(photos[faces])
    faces, place = faces[place < PHOTO_FACES], place[place < PHOTO_FACES]
    people = np.full(len(photos), -1)
    people[faces] = presumed_people(vectors[faces], alike, generator)
    starts = np.flatnonzero(place == 0)
    sizes = np.diff(np.append(starts, len(faces)))
    chosen = [
        _pairs_of_photos(faces[starts[sizes == size, None] + np.arange(size)], boxes, people)
        for size in range(2, PHOTO_FACES + 1)
    ]
    first, second = np.concatenate(chosen).T
    # One of the photos of each two people, at random.
    order = generator.permutation(len(first))
    one, other = people[first[order]], people[second[order]]
    both = np.column_stack([np.minimum(one, other), np.maximum(one, other)])
    once = np.sort(order[np.unique(both, axis=0, return_index=True)[1]])
    return UnlabelledPairs(first[once], second[once], photos[first[once]], in_photos=True)


def distinct_pairs(vectors: NDArray[np.floating[Any]], alike: float, seed: int = 0) -> UnlabelledPairs:
    """Return pairs of faces drawn from the whole archive, no two of them as similar as `alike`.

    A person whose photos differ a lot stays in the sample more than once, so that a share of the pairs are of one
    person: under 0.1 % where a thousand people are in it, 1 % where twelve own three faces in four. People as similar
    as `alike` fall out, few even where all people look alike.

    Args:
        vectors: floats (n, d), unit length; only rows of the faces drawn are read.
        alike: as for `in_photo_pairs`.
        seed: of the choice of faces.
    """
    generator = np.random.default_rng(seed)
    drawn = np.sort(generator.permutation(len(vectors))[:MOST_FACES])
    people = presumed_people(vectors[drawn], alike, generator)
    _, leaders = np.unique(people, return_index=True)
    faces = generator.permutation(drawn[leaders])
    whole = len(faces) // GROUP_FACES
    groups = faces[: whole * GROUP_FACES].reshape(whole, GROUP_FACES)
    one, other = np.triu_indices(GROUP_FACES, 1)
    numbers = np.repeat(np.arange(whole), len(one))
    return UnlabelledPairs(groups[:, one].ravel(), groups[:, other].ravel(), numbers, in_photos=False)


def presumed_people(
    vectors: NDArray[np.floating[Any]], alike: float, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return for each face the row of the one it counts as the same person as, int64 (n,), its own for a new person.

    Faces come in a random order; each joins the most similar of the new people before it that is at least `alike`.

    Args:
        vectors: floats (n, d), unit length; a row that is no number is a person of its own.
        alike: cosine.
        generator: of the order.
    """
    order = generator.permutation(len(vectors))
    faces = vectors[order].astype(np.float32)
    faces[~np.isfinite(faces).all(axis=1)] = 0.0
    leaders = np.empty(0, np.int64)
    joined = np.empty(len(vectors), np.int64)
    for start in range(0, len(faces), BLOCK_ROWS):
        block = faces[start : start + BLOCK_ROWS]
        best = np.full(len(block), -np.inf, np.float32)
        whom = np.arange(start, start + len(block))
        if len(leaders):
            cosines = block @ faces[leaders].T
            nearest = cosines.argmax(axis=1)
            best, whom = cosines[np.arange(len(block)), nearest], leaders[nearest]
        among = block @ block.T
        new: list[int] = []
        for row in range(len(block)):
            inside = among[row, new]
            if new and inside.max() > best[row]:
                best[row], whom[row] = inside.max(), start + new[int(inside.argmax())]
            if best[row] < alike:
                whom[row] = start + row
                new.append(row)
        joined[start : start + len(block)] = whom
        leaders = np.concatenate([leaders, start + np.array(new, np.int64)])
    people = np.empty(len(vectors), np.int64)
    people[order] = order[joined]
    return people


def separate(one: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return whether boxes (..., 4) have no common area; False where one is not a number."""
    apart = ((one[..., 2:] <= other[..., :2]) | (other[..., 2:] <= one[..., :2])).any(axis=-1)
    return np.asarray(apart & np.isfinite(one).all(axis=-1) & np.isfinite(other).all(axis=-1), np.bool_)


def _pairs_of_photos(
    rows: NDArray[np.int64],
    boxes: NDArray[np.floating[Any]],
    people: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the usable pairs, int64 (p, 2), of photos with as many faces each, rows int64 (photos, faces)."""
    one, other = np.triu_indices(rows.shape[1], 1)
    first, second = rows[:, one], rows[:, other]
    usable = separate(boxes[first], boxes[second]) & (people[first] != people[second])
    return np.column_stack([first[usable], second[usable]])


def _places(ascending: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each element how many equal ones stand before it."""
    starts = np.flatnonzero(np.diff(ascending, prepend=-1))
    return np.arange(len(ascending)) - np.repeat(starts, np.diff(np.append(starts, len(ascending))))
