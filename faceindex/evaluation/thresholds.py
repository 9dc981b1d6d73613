"""From an error rate asked for to a threshold, and from a similarity to a probability, by the table of a model.

Reads the tables shipped with the package, which `model_table.py` makes; knows nothing of embeddings, and loads nothing
that would delay a search.
"""

import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any, Literal, Self

from faceindex.errors import ConfigError
from faceindex.types import ModelId

SCHEMA = "faceindex.thresholds/1"

Source = Literal["labels", "archive", "model"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A similarity from which on two faces count as one person, and where it comes from."""

    value: float
    """Cosine similarity; a comparison matches when its similarity is at least this."""
    fpir: float | None = None
    """The false positive identification rate asked for, if one was."""
    fmr: float | None = None
    """The false match rate asked for, if one was."""
    source: Source | Literal["user"] = "model"
    extrapolated: bool = False
    """Whether the error rate was not measured at this gallery size, but follows from the trend of those that were."""
    trials: int | None = None
    """Searches of a stranger, one a person, or pairs of people that the error rate was measured with."""
    pairs: int | None = None
    """Pairs of different people at or above a threshold at least this strict: log(rate) is known to about
    1 / sqrt(pairs)."""
    interval: tuple[float, float] | None = None
    """The rate that may be expected of people like those measured, in four of five cases; None where no pair is."""

    def basis(self) -> dict[str, Any]:
        """Return what the threshold rests on, for answers and manifests."""
        return {
            "threshold_source": self.source,
            "extrapolated": self.extrapolated,
            "trials": self.trials,
            "pairs": self.pairs,
            "interval": self.interval,
        }


@dataclass(frozen=True, slots=True, eq=False)
class ThresholdGrid:
    """Thresholds at a grid of gallery sizes and error rates, and the slope by which they go on outside it.

    Thresholds rise with the gallery size and with the strictness of the error rate, on the grid and everywhere between.
    """

    gallery_sizes: Sequence[int]
    """Ascending."""
    rates: Sequence[float]
    """Descending: the strictest last."""
    thresholds: Sequence[Sequence[float]]
    """One row a gallery size, one column a rate."""
    pairs: Sequence[Sequence[int]]
    """Pairs of people at or above each threshold, counted or, where extrapolated, expected."""
    extrapolated: Sequence[Sequence[bool]]
    tail_exponent: float
    """Beyond the strictest threshold, error rates fall like (ceiling - threshold) to this power."""
    ceiling: float
    """The score of a face and itself: 1 for cosines; for normalised scores, that of a face with usual surroundings."""

    @classmethod
    def from_json(cls, section: Mapping[str, Any]) -> Self:
        """Read one section of a table."""
        return cls(**{field.name: section[field.name] for field in fields(cls)})

    def look_up(self, rate: float, gallery_size: int) -> tuple[float, int, bool]:
        """Return (threshold, pairs, extrapolated), linear in log(rate) and log(gallery size) within the grid.

        A rate above the largest of the grid gets the threshold of that one. A rate below the smallest is reached by the
        tail; so is a gallery larger than the largest, its rate divided in proportion to its size, which is strict.
        """
        size = max(gallery_size, self.gallery_sizes[0])
        beyond = min(1.0, rate / self.rates[-1]) * min(1.0, self.gallery_sizes[-1] / size)
        cells = [
            (row, column, row_weight * column_weight)
            for row, row_weight in _neighbours(self.gallery_sizes, size)
            for column, column_weight in _neighbours([1 / r for r in self.rates], 1 / rate)
        ]
        threshold = sum(weight * self.thresholds[row][column] for row, column, weight in cells)
        pairs = min(self.pairs[row][column] for row, column, _ in cells)
        extrapolated = beyond < 1.0 or any(self.extrapolated[row][column] for row, column, _ in cells)
        return (
            tail_threshold(threshold, beyond, self.tail_exponent, self.ceiling),
            math.floor(pairs * beyond),
            extrapolated,
        )


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """Error rates and probabilities of searches by one kind of score: cosines, or normalised scores."""

    identification: ThresholdGrid
    identified: Mapping[str, float] | None
    """log-odds = intercept + score * s + log_gallery_size * log(N); None where too few people have several faces."""
    identified_by_margin: Mapping[str, float] | None
    """The same and `margin` times the margin to the next person, where that is known."""
    clumping: float
    """Standard deviation of log(rate) that comes on top of 1 / sqrt(pairs), as look-alikes come in groups."""

    @classmethod
    def from_json(cls, section: Mapping[str, Any]) -> Self:
        """Read one section of a table."""
        return cls(
            identification=ThresholdGrid.from_json(section["identification"]),
            identified=section["identified"],
            identified_by_margin=section["identified_by_margin"],
            clumping=section["clumping"],
        )

    def probability(self, score: float, gallery_size: int, margin: float | None = None) -> float | None:
        """Return how probable it is that the first candidate is the person searched for, 0 to 1; None where unknown.

        At even odds that the person is in the gallery at all. Rises with the score and the margin.
        """
        fit = self.identified if margin is None else self.identified_by_margin
        if fit is None:
            return None
        log_odds = fit["intercept"] + fit["score"] * score + fit["log_gallery_size"] * math.log(max(gallery_size, 1))
        return _probability(log_odds + (0.0 if margin is None else fit["margin"] * margin))


@dataclass(frozen=True, slots=True)
class Normalisation:
    """How scores are normalised: constants of one model, chosen by `benchmarks/normalisation.py`."""

    k: int
    """Look-alikes that a mean is over, at most."""
    weight: float
    """How much of the mean is taken off; 0 leaves cosines as they are, 1 levels groups of people most."""


@dataclass(frozen=True, slots=True, eq=False)
class NormalisedTable(ScoreTable):
    """The same of scores normalised by a cohort, and how they were."""

    normalisation: Normalisation

    @classmethod
    def from_json(cls, section: Mapping[str, Any]) -> Self:
        """Read the section `normalised` of a table."""
        plain = ScoreTable.from_json(section)
        shared = {field.name: getattr(plain, field.name) for field in fields(ScoreTable)}
        return cls(**shared, normalisation=Normalisation(section["k"], section["weight"]))


@dataclass(frozen=True, slots=True)
class ModelTable:
    """Error rates and probabilities of one model, measured on labelled photos."""

    model: ModelId
    people: int
    source: Source
    """Whether the people measured are those of the archive, those of the model's own table, or these fitted to it."""
    verification: ThresholdGrid
    """Its only gallery size is 1."""
    same: Mapping[str, float] | None
    """log-odds = intercept + similarity * s"""
    cosines: ScoreTable
    normalised: NormalisedTable | None
    note: str | None = None
    """What a person should know of it, such as why the archive's own faces were not used."""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read a document of the schema `faceindex.thresholds/1`.

        Raises:
            ConfigError: another schema, or a part is missing.
        """
        if document.get("schema") != SCHEMA:
            raise ConfigError(f"a threshold table of schema {SCHEMA} wanted, got {document.get('schema')!r}")
        try:
            return cls(
                model=ModelId(document["model"]),
                people=document["people"],
                source=document["source"],
                verification=ThresholdGrid.from_json(document["verification"]),
                same=document["same"],
                cosines=ScoreTable.from_json(document["cosines"]),
                normalised=NormalisedTable.from_json(document["normalised"]) if document["normalised"] else None,
                note=document.get("note"),
            )
        except KeyError as error:
            raise ConfigError(f"the threshold table of {document.get('model')} has no {error}") from error

    def identification_threshold(self, fpir: float, gallery_size: int, *, normalised: bool = False) -> Threshold:
        """Return the threshold at which a share `fpir` of the searches of strangers finds somebody in the gallery.

        Args:
            fpir: false positive identification rate, between 0 and 1. Below the smallest of the table the threshold is
                extrapolated by its tail; above the largest it is that of the largest, stricter than asked.
            gallery_size: faces in the gallery. The table is made with one face a person: counting faces, where
                people are not known, errs to the strict side. An empty gallery counts as one face.
            normalised: for normalised scores instead of cosines.

        Raises:
            ConfigError: `fpir` is not between 0 and 1.
        """
        require_rate("fpir", fpir)
        scores = self.scores(normalised=normalised)
        value, pairs, extrapolated = scores.identification.look_up(fpir, gallery_size)
        interval = _interval(fpir, pairs, scores.clumping)
        return Threshold(value, fpir, None, self.source, extrapolated, self.people, pairs, interval)

    def verification_threshold(self, fmr: float) -> Threshold:
        """Return the threshold that a share `fmr` of the comparisons of two different people reaches.

        Raises:
            ConfigError: `fmr` is not between 0 and 1.
        """
        require_rate("fmr", fmr)
        value, pairs, extrapolated = self.verification.look_up(fmr, 1)
        trials = self.people * (self.people - 1) // 2
        interval = _interval(fmr, pairs, self.cosines.clumping)
        return Threshold(value, None, fmr, self.source, extrapolated, trials, pairs, interval)

    def scores(self, *, normalised: bool = False) -> ScoreTable:
        """Return the part for one kind of score."""
        if not normalised:
            return self.cosines
        if self.normalised is None:
            raise ConfigError(f"the threshold table of {self.model} has none for normalised scores")
        return self.normalised

    def probability_identified(self, similarity: float, gallery_size: int) -> float | None:
        """Return how probable it is that the most similar face of a gallery is the person searched for, 0 to 1.

        Holds for the first candidate, at even odds that the person is in the gallery at all, and rises with the
        similarity. Gallery size as in `identification_threshold`.
        """
        return self.cosines.probability(similarity, gallery_size)

    def probability_same(self, similarity: float) -> float | None:
        """Return how probable it is that two faces are one person, 0 to 1, when both were equally probable before."""
        if self.same is None:
            return None
        return _probability(self.same["intercept"] + self.same["similarity"] * similarity)


def load_table(model: ModelId | str) -> ModelTable:
    """Return the table shipped for a model; see `load_document`."""
    return ModelTable.from_json(load_document(model))


def load_document(model: ModelId | str) -> Mapping[str, Any]:
    """Return the document of the table shipped for a model.

    Args:
        model: `name@digest`; a name alone gets the table of that name, whatever weights it was made with.

    Raises:
        ConfigError: no table is shipped for the model, or only for other weights or preprocessing of the same name.
    """
    name, _, digest = str(model).partition("@")
    advice = "give --threshold S with a cosine similarity to decide by"
    file = resources.files(__package__).joinpath("shipped", f"{name}.json")
    if not file.is_file():
        raise ConfigError(f"no threshold table for model {name}: {advice}")
    document: dict[str, Any] = json.loads(file.read_text("utf-8"))
    if digest and document["model"] != model:
        raise ConfigError(
            f"no threshold table for model {model}: the one shipped was made with {document['model']}, with other "
            f"weights or settings, and thresholds mean nothing for another model; {advice}"
        )
    return document


def tail_threshold(threshold: float, ratio: float, exponent: float, ceiling: float = 1.0) -> float:
    """Return the threshold whose error rate is `ratio` times that of `threshold`, in the tail.

    The tail is exponential in -log(ceiling - threshold), that is rates fall like (ceiling - threshold)^exponent: so it
    is for cosines of random vectors of d dimensions, with d / 2. An exponential in the threshold itself would ask for
    cosines above 1.

    Args:
        threshold: score, below the ceiling.
        ratio: above 0, at most 1.
        exponent: positive.
        ceiling: the score of a face and itself.
    """
    return ceiling - (ceiling - threshold) * math.pow(ratio, 1.0 / exponent)


def _neighbours(ascending: Sequence[float], value: float) -> list[tuple[int, float]]:
    """Return the grid points on either side of `value` and their weights, linear in the logarithm; ends are held."""
    right = bisect_right(ascending, value)
    if right in (0, len(ascending)) or ascending[right - 1] == value:
        return [(max(right - 1, 0), 1.0)]
    low, high = ascending[right - 1], ascending[right]
    weight = math.log(value / low) / math.log(high / low)
    return [(right - 1, 1.0 - weight), (right, weight)]


def _probability(log_odds: float) -> float:
    """Return the logistic of `log_odds`, by tanh, which neither overflows nor leaves [0, 1]."""
    return 0.5 * (1.0 + math.tanh(0.5 * log_odds))


def _interval(rate: float, pairs: int, clumping: float) -> tuple[float, float] | None:
    """Return 80 % limits of a rate whose logarithm has the variance 1 / pairs + clumping^2."""
    if pairs < 1:
        return None
    factor = math.exp(1.2816 * math.sqrt(1.0 / pairs + clumping**2))
    return rate / factor, min(1.0, rate * factor)


def require_rate(name: str, rate: float) -> None:
    """Raise `ConfigError` unless a rate lies between 0 and 1."""
    if not 0.0 < rate < 1.0:
        raise ConfigError(f"{name} is an error rate between 0 and 1, 0.01 for one in a hundred, got {rate:g}")
