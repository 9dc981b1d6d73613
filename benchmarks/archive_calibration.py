r"""Do thresholds fitted to an archive without labels realise the error rates asked for? Albums made from LFW.

    faceindex index lfw-dev -c CAT
    python benchmarks/archive_calibration.py --catalog CAT --photos CAT...

Each split of the people: a third make a model's table, a third the album and the galleries, a third are strangers.
Albums have group pictures of 2 to 8 people, bursts, double detections, and pairs of one person as mirrors and collages
make them. Group pictures are composed of embeddings; a sample is composed of pixels, detected and embedded, to show
that both agree.
"""

import argparse
import math
from collections import defaultdict
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from albums import (
    BURSTS,
    DOUBLES,
    SAME_PERSON,
    Album,
    Rows,
    Vectors,
    burst_copy,
    composed_album,
    group_picture,
    portraits,
)
from model_table import LABEL_ERRORS
from numpy.typing import NDArray
from report import machine, publish

import faceindex
from faceindex.arrays import l2_normalize
from faceindex.config import Settings
from faceindex.evaluation.archive import (
    UPPER,
    LocalMap,
    NonmatedScores,
    NotUsable,
    alike_threshold,
    drift,
    fit_local_map,
    normalised_ceiling,
)
from faceindex.evaluation.archive_scores import normalised_scores
from faceindex.evaluation.cohort import FEWEST_MEMBERS, NOBODY, Cohort, one_face_of_each
from faceindex.evaluation.model_table import make_model_table, person_limits
from faceindex.evaluation.scores import one_face_each
from faceindex.evaluation.thresholds import ModelTable, load_table
from faceindex.evaluation.unlabelled_pairs import UnlabelledPairs, distinct_pairs, in_photo_pairs, unlabelled_pairs
from faceindex.faces.recogniser import Recogniser
from faceindex.labelled import LabelledFaces, people_from_folders
from faceindex.tables import from_float16_column, from_id_column
from faceindex.types import Image, ModelId

SPLITS = 20
GALLERY_DRAWS = 10
ASKED = (0.1, 0.03)
SIZES = (250, 1000)
ALBUM_FACES = (300, 500, 1000, 5000)
DIRTIER = (0.02, 0.05)
FAMILY, FAMILY_OTHERS = 12, 250
"""People with the most photos, who own two faces in three of an album, and others with the fewest."""
CLUSTERS = 4
PICTURES = 300


@dataclass
class Splits:
    """Labelled faces and the parts of their people in one split."""

    vectors: Vectors
    subjects: Rows
    seed: int
    model: str = "lfw@0"

    def __post_init__(self) -> None:
        self.generator = np.random.default_rng(self.seed)
        order = self.generator.permutation(int(self.subjects.max()) + 1)
        self.for_table, self.others = order[: len(order) // 3], order[len(order) // 3 :]

    @cached_property
    def table(self) -> ModelTable:
        rows = np.flatnonzero(np.isin(self.subjects, self.for_table))
        model = ModelId(self.model)
        document = make_model_table(self.vectors[rows], self.subjects[rows], model, data="", seed=self.seed)
        self.cohort_size = document["normalised"]["cohort"] if document["normalised"] else 0
        return ModelTable.from_json(document)

    @cached_property
    def nonmated(self) -> NonmatedScores:
        return NonmatedScores.of_grid(self.table.verification)

    def halves(self, people: NDArray[np.bool_] | None = None) -> tuple[Rows, Rows]:
        """Return the people of the album and the strangers, of all who are not in the table or of some."""
        chosen = self.others if people is None else self.others[people[self.others]]
        return chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]

    def fit(self, album: Album, pairs: UnlabelledPairs | None = None) -> LocalMap:
        if pairs is None:
            alike = alike_threshold(self.table)
            pairs = unlabelled_pairs(album.photos, album.boxes, album.vectors, alike, self.seed)
        found = fit_local_map(pairs.similarities(album.vectors), pairs, self.nonmated, self.seed)
        if isinstance(found, NotUsable):
            raise SystemExit(found.reason)
        return found


def thresholds(split: Splits, fitted: LocalMap, asked: float, size: int) -> dict[str, float]:
    """Return the threshold of each method for a rate and a gallery size."""
    grid = split.table.identification_threshold(asked, size).value
    pooled = split.table.verification_threshold(-math.expm1(math.log1p(-asked) / size)).value
    return {
        "table": grid,
        "grid, strict": fitted.threshold(grid),
        "grid": fitted.threshold(grid, 0),
        "grid, linear": linear(fitted, grid),
        "pooled": fitted.threshold(pooled, 0),
        "pooled, linear": linear(fitted, pooled),
    }


def linear(fitted: LocalMap, value: float) -> float:
    """Return the threshold that a map linear in the score would give."""
    table, archive = fitted.table, fitted.archive
    return archive.median + (archive.upper - archive.median) * (value - table.median) / (table.upper - table.median)


METHODS = ("table", "grid, strict", "grid", "grid, linear", "pooled", "pooled, linear")
CHOICES = ("grid, strict", "grid", "pooled")


def realised(split: Splits, members: Rows, strangers: Rows, size: int) -> "Searches":
    """Search galleries of the members for the strangers, and for members with another photo."""
    vectors, subjects, generator = split.vectors, split.subjects, split.generator
    outside = vectors[one_face_each(subjects, generator)][strangers]
    false, own, rivals = [], [], []
    for _ in range(GALLERY_DRAWS):
        enrolled = one_face_each(subjects, generator)
        inside = generator.permutation(members)[:size]
        gallery = vectors[enrolled[inside]]
        false.append((outside @ gallery.T).max(axis=1))
        probes = np.setdiff1d(np.flatnonzero(np.isin(subjects, inside)), enrolled)
        if not len(probes):
            continue
        probes = probes[one_face_each(subjects[probes], generator)]
        scores = vectors[probes] @ gallery.T
        mine = subjects[probes][:, None] == inside[None]
        own.append(scores[mine])
        rivals.append(np.where(mine, -1, scores).max(axis=1))
    return Searches(np.concatenate(false), np.concatenate(own), np.concatenate(rivals))


@dataclass
class Searches:
    """Scores of searches: of strangers the first, of members their own and the best other."""

    false: NDArray[np.float32]
    own: NDArray[np.float32]
    rivals: NDArray[np.float32]

    def fpir(self, threshold: float) -> float:
        return float((self.false >= threshold).mean())

    def fnir(self, threshold: float) -> float:
        return float(((self.own < threshold) | (self.own <= self.rivals)).mean())


def spread_of(ratios: list[float]) -> str:
    """Return mean and range of the middle eight tenths."""
    low, high = np.quantile(ratios, [0.1, 0.9])
    return f"{np.mean(ratios):.2f} ({low:.2f}-{high:.2f})"


def album_rows(vectors: Vectors, subjects: Rows) -> list[dict[str, Any]]:
    """Return realised over asked FPIR by album, gallery size, rate and method."""
    ratios, missed, facts = defaultdict(list), defaultdict(list), defaultdict(list)
    for seed in range(SPLITS):
        split = Splits(vectors, subjects, seed)
        members, strangers = split.halves()
        searches = {size: realised(split, members, strangers, size) for size in SIZES}
        for name, album in albums(split, members).items():
            for where, pairs in album.pairs(alike_threshold(split.table), seed).items():
                fitted = split.fit(album, pairs)
                same = album.subjects[pairs.first] == album.subjects[pairs.second]
                facts[name, where].append((len(pairs), 100 * same.mean()))
                for size in SIZES:
                    for asked in ASKED:
                        for method, threshold in thresholds(split, fitted, asked, size).items():
                            ratios[name, where, size, asked, method].append(searches[size].fpir(threshold) / asked)
                            missed[name, where, size, asked, method].append(searches[size].fnir(threshold))
    rows = []
    for name, where in facts:
        counts, shares = zip(*facts[name, where], strict=True)
        for size in SIZES:
            for asked in ASKED:
                found = {method: ratios[name, where, size, asked, method] for method in METHODS}
                rates = {method: missed[name, where, size, asked, method] for method in METHODS}
                rows.append(
                    {
                        "album": name,
                        "pairs of": where,
                        "splits": len(counts),
                        "pairs": round(np.mean(counts)),
                        "of one person %": float(np.mean(shares)),
                        "N": size,
                        "asked": asked,
                        **{method: spread_of(found[method]) for method in METHODS},
                        **{f"{one}: within x3": within(found[one]) for one in CHOICES},
                        "grid, strict: above asked": sum(ratio > 1 for ratio in found["grid, strict"]),
                        **{f"{one}: FNIR": float(np.mean(rates[one])) for one in ("table", *CHOICES)},
                    }
                )
    return rows


def albums(split: Splits, members: Rows) -> dict[str, Album]:
    """Return albums of different sizes, of more pairs of one person, and without groups."""
    vectors, subjects, generator = split.vectors, split.subjects, split.generator
    found = {
        f"{faces:,} faces in groups": composed_album(vectors, subjects, members, faces, generator)
        for faces in ALBUM_FACES
    }
    for share in DIRTIER:
        name = f"1,000 faces, {share:.0%} of the pairs in photos one person"
        found[name] = composed_album(vectors, subjects, members, 1000, generator, share)
    found["every photo, no groups"] = portraits(vectors, subjects, members)
    family = members[np.argsort(-np.bincount(subjects)[members])]
    known = portraits(vectors, subjects, family[:FAMILY])
    others = portraits(vectors, subjects, family[-FAMILY_OTHERS:])
    found[f"{FAMILY} people again and again, {FAMILY_OTHERS} with few photos"] = Album(
        *(np.concatenate(parts) for parts in zip(astuple(known), astuple(others), strict=True))
    )
    return found


def within(ratios: list[float]) -> int:
    """Return how many are within a factor of three."""
    return sum(1 / 3 <= ratio <= 3 for ratio in ratios)


def clusters_of(vectors: Vectors, subjects: Rows) -> Rows:
    """Return the cluster of each person, by k-means of the means of their faces, largest cluster last."""
    people = int(subjects.max()) + 1
    means = np.zeros((people, vectors.shape[1]), np.float32)
    np.add.at(means, subjects, vectors)
    means = l2_normalize(means)
    best: tuple[float, Rows] = (-np.inf, np.zeros(people, np.int64))
    for seed in range(5):
        centres = means[np.random.default_rng(seed).choice(people, CLUSTERS, replace=False)]
        for _ in range(100):
            nearest = (means @ centres.T).argmax(axis=1)
            centres = l2_normalize(np.stack([means[nearest == c].sum(axis=0) for c in range(CLUSTERS)]))
        close = float((means @ centres.T).max(axis=1).sum())
        if close > best[0]:
            best = close, nearest
    order = np.argsort(np.argsort(np.bincount(best[1])))
    return order[best[1]]


def cluster_rows(vectors: Vectors, subjects: Rows) -> list[dict[str, Any]]:
    """Return the same for archives of one cluster of people each."""
    clusters = clusters_of(vectors, subjects)
    ratios, sizes, quantiles = defaultdict(list), defaultdict(list), defaultdict(list)
    for seed in range(SPLITS):
        split = Splits(vectors, subjects, seed)
        for cluster in range(CLUSTERS):
            members, strangers = split.halves(clusters == cluster)
            size = min(200, len(members))
            searches = realised(split, members, strangers, size)
            sizes[cluster].append(size)
            album = composed_album(vectors, subjects, members, 1000, split.generator)
            for name, pairs in album.pairs(alike_threshold(split.table), seed).items():
                fitted = split.fit(album, pairs)
                quantiles[cluster, name].append((fitted.archive.median, fitted.archive.upper))
                for asked in (*ASKED, 0.01):
                    for method, threshold in thresholds(split, fitted, asked, size).items():
                        ratios[cluster, name, asked, method].append(searches.fpir(threshold) / asked)
    return [
        {
            "cluster": cluster,
            "people": int((clusters == cluster).sum()),
            "N": round(np.mean(sizes[cluster])),
            "pairs of": name,
            "splits": len(found),
            "median": float(np.mean([median for median, _ in found])),
            "95 %": float(np.mean([upper for _, upper in found])),
            "asked": asked,
            **{method: spread_of(ratios[cluster, name, asked, method]) for method in METHODS},
        }
        for (cluster, name), found in sorted(quantiles.items())
        for asked in (*ASKED, 0.01)
    ]


def normalised_rows(vectors: Vectors, subjects: Rows, model: ModelId) -> list[dict[str, Any]]:
    """Return the same for normalised scores, whose cohort is of the archive too: everybody, and one cluster each."""
    clusters = clusters_of(vectors, subjects)
    ratios, facts = defaultdict(list), defaultdict(list)
    for seed in range(SPLITS):
        split = Splits(vectors, subjects, seed, model)
        table = split.table.normalised
        verification = split.table.verification
        same, alike = person_limits(verification)
        for name in ("everybody", *range(CLUSTERS)):
            members, strangers = split.halves(None if name == "everybody" else clusters == name)
            size = min(1000 if name == "everybody" else 200, len(members))
            faces = np.flatnonzero(np.isin(subjects, members))
            order = split.generator.permutation(faces)
            chosen = order[one_face_of_each(vectors[order], np.full(len(order), NOBODY), same=same, alike=alike)]
            if len(chosen) < FEWEST_MEMBERS:
                continue
            cohort = Cohort(vectors[chosen], table.normalisation, same)
            own = np.full(len(vectors), NOBODY)
            own[chosen] = np.arange(len(chosen))
            found = distinct_pairs(vectors[faces], alike_threshold(split.table), seed)
            pairs = replace(found, first=faces[found.first], second=faces[found.second])
            scores = normalised_scores(vectors, pairs, cohort, own)
            constants = table.normalisation
            ceiling = normalised_ceiling(verification, constants.k, split.cohort_size, constants.weight)
            nonmated = NonmatedScores.of_grid(table.identification, ceiling)
            fitted = fit_local_map(scores, pairs, nonmated, seed)
            if isinstance(fitted, NotUsable):
                continue
            facts[name].append((size, fitted.archive.median, fitted.archive.upper))
            enrolled = one_face_each(subjects, split.generator)
            inside, outside = vectors[enrolled[members]], vectors[enrolled[strangers]]
            half = constants.weight / 2
            levels = outside @ inside.T
            levels -= half * cohort.surroundings(outside).means[:, None]
            levels -= half * cohort.surroundings(inside, own[enrolled[members]]).means[None]
            galleries = [split.generator.permutation(len(members))[:size] for _ in range(GALLERY_DRAWS)]
            false = np.concatenate([levels[:, gallery].max(axis=1) for gallery in galleries])
            for asked in (*ASKED, 0.01):
                value = table.identification.look_up(asked, size)[0]
                for method, threshold in (
                    ("table", value),
                    ("grid, strict", fitted.threshold(value)),
                    ("grid", fitted.threshold(value, 0)),
                    ("grid, linear", linear(fitted, value)),
                ):
                    ratios[name, asked, method].append(float((false >= threshold).mean()) / asked)
    return [
        {
            "cluster": name,
            "N": round(np.mean([size for size, *_ in found])),
            "splits": len(found),
            "median": float(np.mean([median for _, median, _ in found])),
            "95 %": float(np.mean([upper for *_, upper in found])),
            "asked": asked,
            **{method: spread_of(ratios[name, asked, method]) for method in METHODS[:4]},
        }
        for name, found in facts.items()
        for asked in (*ASKED, 0.01)
    ]


def drift_rows(vectors: Vectors, subjects: Rows) -> list[dict[str, Any]]:
    """Return how often a second fit raises the alarm, by what changed in the archive."""
    clusters = clusters_of(vectors, subjects)
    found = defaultdict(list)
    for seed in range(SPLITS):
        split = Splits(vectors, subjects, seed)
        members, strangers = split.halves()
        value = split.table.identification_threshold(0.03, 1000).value
        for faces in (500, 2000):
            before = split.fit(composed_album(vectors, subjects, members, faces, split.generator))
            others = {"other people of the same kind": strangers}
            others |= {f"people of cluster {c}": split.halves(clusters == c)[1] for c in range(CLUSTERS)}
            for name, people in others.items():
                after = split.fit(composed_album(vectors, subjects, people, faces, split.generator))
                found[name, faces].append(drift(before, after, value))
    return [
        {
            "archive becomes": name,
            "faces": faces,
            "spreads": float(np.mean([one.spreads for one in drifts])),
            "standard errors": float(np.mean([abs(one.errors) for one in drifts])),
            "alarms": f"{sum(one.alarm for one in drifts)}/{len(drifts)}",
        }
        for (name, faces), drifts in sorted(found.items())
    ]


def pixel_rows(labelled: LabelledFaces, seed: int) -> list[dict[str, Any]]:
    """Return what group pictures of pixels give, beside the same ones composed of embeddings."""
    generator = np.random.default_rng(seed)
    recogniser = Recogniser.load(Settings())
    table = Splits(labelled.vectors, labelled.subjects, seed)
    people = table.others
    of_person = {person: np.flatnonzero(labelled.subjects == person) for person in people}
    parts: dict[str, list[Any]] = defaultdict(list)
    for number in range(PICTURES):
        group = generator.choice(people, generator.integers(2, 9), replace=False)
        rows = np.array([int(generator.choice(of_person[person])) for person in group])
        picture, tiles = group_picture([labelled.photos[row] for row in rows], generator)
        copies = [picture, burst_copy(picture, generator)] if number < PICTURES // 3 else [picture]
        answers = recogniser.faces([Image(b"", b"", np.asarray(copy), "picture") for copy in copies])
        found = answers[0]
        good = found.qualities >= Settings().min_quality
        boxes, vectors = found.detections.boxes[good], found.vectors[good]
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = ((centres[:, None] >= tiles[None, :, :2]) & (centres[:, None] < tiles[None, :, 2:])).all(axis=2)
        parts["photos"].append(np.full(len(boxes), number))
        parts["boxes"].append(boxes)
        parts["vectors"].append(vectors)
        parts["strays"].append(len(boxes) - int(inside.any(axis=0).sum()))
        parts["missing"].append(int((~inside.any(axis=0)).sum()))
        for tile, row in enumerate(rows):
            for face in np.flatnonzero(inside[:, tile])[:1]:
                parts["agreement"].append(float(vectors[face] @ labelled.vectors[row]))
        if len(copies) > 1 and len(answers[1].vectors) and len(vectors):
            parts["burst"] += (vectors @ answers[1].vectors.T).max(axis=1).tolist()
        parts["tile photos"].append(np.full(len(rows), number))
        parts["tiles"].append(tiles)
        parts["tile vectors"].append(labelled.vectors[rows])
    albums = {
        "pixels": [np.concatenate(parts[name]) for name in ("photos", "boxes", "vectors")],
        "embeddings": [np.concatenate(parts[name]) for name in ("tile photos", "tiles", "tile vectors")],
    }
    result = []
    for name, (photos, boxes, vectors) in albums.items():
        pairs = in_photo_pairs(photos, boxes, vectors, alike_threshold(table.table), seed)
        fitted = fit_local_map(pairs.similarities(vectors), pairs, table.nonmated, seed)
        if isinstance(fitted, NotUsable):
            raise SystemExit(fitted.reason)
        asked = [table.table.identification_threshold(fpir, 1000).value for fpir in ASKED]
        result.append(
            {
                "composed of": name,
                "faces": len(photos),
                "strays": sum(parts["strays"]) if name == "pixels" else 0,
                "not found": sum(parts["missing"]) if name == "pixels" else 0,
                "pairs": len(pairs),
                "median": fitted.archive.median,
                "95 %": fitted.archive.upper,
                **{f"T at FPIR {fpir:g}": fitted.threshold(value, 0) for fpir, value in zip(ASKED, asked, strict=True)},
                "+- (95 %)": fitted.interval(asked[0])[1] - fitted.threshold(asked[0], 0),
                "cosine to LFW's own": float(np.median(parts["agreement"])) if name == "pixels" else 1.0,
                "cosine in bursts": float(np.median(parts["burst"])) if name == "pixels" else float("nan"),
            }
        )
    return result


def photo_rows(catalogs: list[str]) -> list[dict[str, Any]]:
    """Return where pairs of faces lie in catalogs of photos as they are: within photos, and the same faces across."""
    rows = []
    for name in catalogs:
        opened = faceindex.open(name)
        table = load_table(opened.generation.model)
        nonmated, alike = NonmatedScores.of_grid(table.verification), alike_threshold(table)
        faces = opened.faces()
        faces = faces.take(np.flatnonzero(faces["quality"].to_numpy() >= Settings().min_quality))
        boxes = np.column_stack([faces[edge].to_numpy() for edge in ("x0", "y0", "x1", "y1")])
        vectors = from_float16_column(faces["embedding"]).astype(np.float32)
        within_photos = in_photo_pairs(from_id_column(faces["photo_id"]).view("S16"), boxes, vectors, alike)
        first, second = within_photos.first, within_photos.second
        generator = np.random.default_rng(0)
        order = np.concatenate([generator.permutation(len(first)) for _ in range(20)])
        shuffled = np.einsum("ij,ij->i", vectors[np.tile(first, 20)], vectors[second[order]])
        everywhere = distinct_pairs(vectors, alike)
        for kind, count, scores in (
            ("within photos", len(first), within_photos.similarities(vectors)),
            ("the same faces across photos", len(first), shuffled),
            ("everywhere", len(everywhere), everywhere.similarities(vectors)),
        ):
            median, upper = (float(found) for found in np.quantile(scores, [0.5, UPPER]))
            here = NonmatedScores(median, upper)
            rows.append(
                {
                    "photos": Path(opened.catalog.settings.roots[0]).name,
                    "faces": len(faces),
                    "pairs": kind,
                    "count": count,
                    "median": median,
                    "95 %": upper,
                    "shift": (here.depth(median) - nonmated.depth(nonmated.median)) / nonmated.spread,
                    "spread": here.spread / nonmated.spread,
                }
            )
    return rows


def main() -> None:
    """Print and write six tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", required=True, help="catalog of LFW's photos, in folders named by the person")
    parser.add_argument("--photos", nargs="*", default=[], help="catalogs of photos as they are, people unknown")
    arguments = parser.parse_args()
    labelled = people_from_folders(faceindex.open(arguments.catalog)).without(LABEL_ERRORS)
    vectors, subjects = labelled.vectors, labelled.subjects
    about = machine()
    data = (
        f"{Path(labelled.photos[0]).parent.parent.name}, {int(subjects.max()) + 1:,} people, {SPLITS} splits of the "
        f"people into thirds (seeds 0 to {SPLITS - 1}): model's table, album and galleries, strangers. Albums: group "
        f"pictures of 2 to 8 people, {SAME_PERSON:.1%} of the pairs one person, {BURSTS:.0%} of the pictures in bursts "
        f"of three, {DOUBLES:.0%} of the faces found twice."
    )
    methods = (
        "Realised over asked FPIR, mean and middle eight tenths of the splits. `table`: the table's own threshold; "
        "`grid`: its FPIR grid mapped onto the album; `grid, strict`: one standard error of the fit above that, as "
        "`LocalMap.threshold` gives it; `pooled`: the table's FMR at 1 - (1 - FPIR)^(1/N), mapped; `linear`: mapped "
        "linearly in the cosine, not in -log(1 - cosine). Pairs are of faces from the whole archive, or within photos; "
        "splits without enough of those are left out."
    )
    publish(
        "archive_pixels",
        "Group pictures composed of pixels and of embeddings",
        f"{PICTURES} pictures of 2 to 8 people, a third of them also as a burst; JPEG, default detector and embedder. "
        "Strays are faces in the background or found twice.",
        pixel_rows(labelled, 0),
        about,
    )
    publish(
        "archive_photos",
        "Pairs of faces within photos and across photos",
        "Photos as they are, faces of the default quality or better, boxes that do not overlap; shift and spread as "
        "compared with the model's table. Pairs across photos are the same faces, dealt out again.",
        photo_rows([arguments.catalog, *arguments.photos]),
        about,
    )
    publish("archive_albums", "Thresholds without labels", f"{data} {methods}", album_rows(vectors, subjects), about)
    publish(
        "archive_clusters",
        "Thresholds without labels in archives of people who look alike",
        f"{data} Here album, galleries and strangers are of one of {CLUSTERS} clusters of people (k-means of their "
        f"mean embeddings), albums of 1,000 faces in groups. {methods}",
        cluster_rows(vectors, subjects),
        about,
    )
    publish(
        "archive_normalised",
        "Thresholds of normalised scores without labels",
        f"{data.partition(' Albums:')[0]} Every photo of the album's people, one face a photo; normalised scores, with "
        f"a cohort of the album's faces, for everybody and for {CLUSTERS} clusters of people. {methods}",
        normalised_rows(vectors, subjects, labelled.model),
        about,
    )
    publish(
        "archive_drift",
        "Alarms of drift between two fits",
        f"{data} The threshold of FPIR 0.03 at N = 1,000 before and after the archive is replaced.",
        drift_rows(vectors, subjects),
        about,
    )


if __name__ == "__main__":
    main()
