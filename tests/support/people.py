"""Synthetic people: unit vectors around a centre each, with a known truth and cosines as compressed as real ones."""

import numpy as np
from numpy.typing import NDArray

DIMENSION = 24


def synthetic_people(
    faces: list[int], seed: int, within: float = 0.35, dimension: int = DIMENSION
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return vectors float32 (n, dimension), unit length, and subjects int64 (n,).

    Args:
        faces: faces of each person.
        seed: two seeds give disjoint people of one population.
        within: standard deviation of a person's faces, that of people being 1.
        dimension: numbers in a vector.
    """
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((len(faces), dimension))
    centres[:, 0] += 8.0
    subjects = np.repeat(np.arange(len(faces)), faces)
    vectors = centres[subjects] + within * generator.standard_normal((len(subjects), dimension))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32), subjects.astype(np.int64)
