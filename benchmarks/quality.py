"""Does face quality order failures? Error against discard, on LFW and other photos, and with degraded copies.

    python benchmarks/quality.py LFW --others photos/five-celebrity/train photos/five-celebrity/test

Needs folders of people. Judged on people that the constants of `faces/quality.py` were not fitted on: those of LFW
whose name has an odd CRC-32, and all of the others.
"""

import argparse
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFilter
from report import machine, publish

from faceindex.config import Settings
from faceindex.faces.prominence import by_prominence
from faceindex.faces.recogniser import Recogniser
from faceindex.types import Image

FMR = 1e-3
DISCARDS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
MOST = 8
"""Photos of a person, so that a few people do not make most of the pairs."""
COPIES = 6
BATCH = 32
RANDOM_ORDERS = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Photo:
    """A picture with its main face."""

    picture: Pillow.Image
    centre: Floats
    """x, y of the middle of the face's box, in pixels."""
    side: float
    """Of the box, root of its area."""


@dataclass(frozen=True)
class Copy:
    """A degraded copy, and where the face went: around the picture's middle by degrees, then scaled."""

    picture: Pillow.Image
    scale: float = 1.0
    degrees: float = 0.0


def _kind(
    low: float, high: float, degrade: Callable[[Photo, float, np.random.Generator], Copy]
) -> Callable[[Photo, np.random.Generator], tuple[Copy, float]]:
    """Return a way to degrade by a level between two, drawn evenly on a logarithmic scale; higher is worse."""

    def drawn(photo: Photo, generator: np.random.Generator) -> tuple[Copy, float]:
        level = float(np.exp(generator.uniform(np.log(low), np.log(high))))
        return degrade(photo, level, generator), level

    return drawn


def _levels(photo: Photo, change: Callable[[Floats], Floats]) -> Copy:
    pixels = change(np.asarray(photo.picture, np.float64))
    return Copy(Pillow.fromarray(pixels.clip(0, 255).astype(np.uint8)))


def _blurred(photo: Photo, level: float, _: np.random.Generator) -> Copy:
    return Copy(photo.picture.filter(ImageFilter.GaussianBlur(level * photo.side)))


def _moved(photo: Photo, level: float, generator: np.random.Generator) -> Copy:
    count = max(2, round(level * photo.side))
    angle = generator.uniform(0, np.pi)
    steps = [(round(t * np.sin(angle)), round(t * np.cos(angle))) for t in np.arange(count) - (count - 1) / 2]
    return _levels(photo, lambda pixels: np.mean([np.roll(pixels, step, (0, 1)) for step in steps], axis=0))


def _shrunk(photo: Photo, level: float, _: np.random.Generator) -> Copy:
    scale = 1 / (level * photo.side)
    size = [max(1, round(side * scale)) for side in photo.picture.size]
    return Copy(photo.picture.resize((size[0], size[1]), Pillow.Resampling.LANCZOS), scale)


def _shrunk_and_back(photo: Photo, level: float, generator: np.random.Generator) -> Copy:
    small = _shrunk(photo, level, generator).picture
    return Copy(small.resize(photo.picture.size, Pillow.Resampling.BICUBIC))


def _noisy(photo: Photo, level: float, generator: np.random.Generator) -> Copy:
    return _levels(photo, lambda pixels: pixels + generator.normal(0, level, pixels.shape))


def _blurred_and_noisy(photo: Photo, level: float, generator: np.random.Generator) -> Copy:
    copy = _blurred(photo, level, generator).picture
    return _noisy(Photo(copy, photo.centre, photo.side), 600 * level, generator)


def _dark(photo: Photo, level: float, generator: np.random.Generator) -> Copy:
    return _levels(photo, lambda pixels: pixels / level + generator.normal(0, 1, pixels.shape))


def _turned(photo: Photo, level: float, generator: np.random.Generator) -> Copy:
    degrees = level * generator.choice([-1, 1])
    return Copy(photo.picture.rotate(degrees, Pillow.Resampling.BICUBIC), degrees=degrees)


def _compressed(photo: Photo, level: float, _: np.random.Generator) -> Copy:
    file = io.BytesIO()
    photo.picture.save(file, "JPEG", quality=max(1, round(1 / level)))
    return Copy(Pillow.open(file).convert("RGB"))


def _covered(photo: Photo, level: float, generator: np.random.Generator) -> Copy:
    """Cover a share of the face from below, from above or from one side with one colour."""
    pixels = np.array(photo.picture)
    (x, y), half = photo.centre, photo.side / 2
    depth = 2 * half * level
    x0, y0, x1, y1 = x - half, y - 1.2 * half, x + half, y + 1.2 * half
    parts = [(x0, y1 - 1.2 * depth, x1, y1), (x0, y0, x1, y0 + 1.2 * depth), (x0, y0, x0 + depth, y1)]
    left, top, right, bottom = (max(0, round(edge)) for edge in parts[generator.integers(len(parts))])
    pixels[top:bottom, left:right] = generator.integers(0, 256, 3)
    return Copy(Pillow.fromarray(pixels))


KINDS = {
    "blur, sd / face": _kind(0.01, 0.08, _blurred),
    "motion, length / face": _kind(0.03, 0.3, _moved),
    "shrunk, 1 / px": _kind(1 / 60, 1 / 16, _shrunk),
    "shrunk and back, 1 / px": _kind(1 / 60, 1 / 16, _shrunk_and_back),
    "dark, 1 / gain": _kind(2, 30, _dark),
    "overexposed, gain": _kind(1.4, 8, lambda photo, level, _: _levels(photo, lambda pixels: pixels * level)),
    "noise, sd": _kind(6, 90, _noisy),
    "blur and noise, sd / face": _kind(0.01, 0.06, _blurred_and_noisy),
    "JPEG, 1 / quality": _kind(1 / 25, 1 / 2, _compressed),
    "covered share": _kind(0.15, 0.6, _covered),
    "turned, degrees": _kind(10, 70, _turned),
}


@dataclass
class Faces:
    """Faces with what became of them, in arrays of one row a face."""

    people: NDArray[np.str_]
    photos: NDArray[np.int64]
    """Number of the photo each is of, or is a copy of."""
    kinds: NDArray[np.str_]
    levels: Floats
    vectors: NDArray[np.float32]
    qualities: Floats
    confidences: Floats
    sides: Floats


def photos_of(folder: Path, generator: np.random.Generator) -> list[Path]:
    """Return up to `MOST` photos of each person who has two or more and was not fitted on."""
    chosen: list[Path] = []
    for person in sorted(path for path in folder.iterdir() if path.is_dir()):
        found = sorted(person.glob("*.jpg"))
        if len(found) > 1 and zlib.crc32(person.name.encode()) % 2:
            chosen += [found[i] for i in sorted(generator.permutation(len(found))[:MOST])]
    return chosen


def measured(paths: list[Path], degraded: int, seed: int) -> tuple[Faces, dict[str, float]]:
    """Embed photos and degraded copies of some of them.

    Args:
        paths: photos, in folders named by the person.
        degraded: photos of which copies are made.
        seed: of the choice of photos, kinds and levels.

    Returns:
        The faces that were found, and for each kind the share of its copies in which the face was found.
    """
    generator = np.random.default_rng(seed)
    recogniser = Recogniser.load(Settings())
    copied = set(generator.choice(len(paths), min(degraded, len(paths)), replace=False).tolist())
    rows: list[tuple[Any, ...]] = []
    tried: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for start in range(0, len(paths), BATCH):
        pictures = [Pillow.open(path).convert("RGB") for path in paths[start : start + BATCH]]
        jobs: list[tuple[int, str, float, Photo, Copy]] = []
        for number, (picture, found) in enumerate(zip(pictures, _faces(recogniser, pictures), strict=True), start):
            if not len(found.detections):
                continue
            first = int(by_prominence(found.detections.boxes, *picture.size)[0])
            photo = Photo(picture, _centres(found)[first], float(_sides(found)[first]))
            rows.append((paths[number].parent.name, number, "as it is", 0.0, *_row(found, first)))
            for kind in generator.choice(list(KINDS), COPIES, replace=False) if number in copied else []:
                copy, level = KINDS[kind](photo, generator)
                jobs.append((number, kind, level, photo, copy))
        for at in range(0, len(jobs), BATCH):
            some = jobs[at : at + BATCH]
            answers = _faces(recogniser, [copy.picture for *_, copy in some])
            for (number, kind, level, photo, copy), found in zip(some, answers, strict=True):
                which = _same_face(found, photo, copy)
                tried[kind].append(which is not None)
                if which is not None:
                    rows.append((paths[number].parent.name, number, kind, level, *_row(found, which)))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Faces(*columns), {kind: float(np.mean(found)) for kind, found in tried.items()}


def _faces(recogniser: Recogniser, pictures: list[Pillow.Image]) -> list[Any]:
    return recogniser.faces([Image(b"", b"", np.asarray(picture), "picture") for picture in pictures])


def _centres(found: Any) -> Floats:
    return np.asarray((found.detections.boxes[:, :2] + found.detections.boxes[:, 2:]) / 2, dtype=np.float64)


def _sides(found: Any) -> Floats:
    boxes = found.detections.boxes
    return np.asarray(np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1, dtype=np.float64)))


def _row(found: Any, index: int) -> tuple[Any, ...]:
    confidence = found.detections.confidences[index]
    return found.vectors[index], found.qualities[index], confidence, _sides(found)[index]


def _same_face(found: Any, photo: Photo, copy: Copy) -> int | None:
    """Return which face of a copy is the one of the photo, by place and size; None if it was not found."""
    middle = np.array(photo.picture.size) / 2
    angle = np.deg2rad(copy.degrees)
    # Pillow turns against the clock, and y points down.
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centre = (turn @ (photo.centre - middle) + middle) * copy.scale
    side = photo.side * copy.scale
    off, ratio = np.linalg.norm(_centres(found) - centre, axis=1) / side, _sides(found) / side
    near = np.flatnonzero((off < 0.35) & (ratio > 0.5) & (ratio < 2))
    return int(near[0]) if len(near) else None


@dataclass
class MatedPairs:
    """Every face against the photos as they are of the same person, other than its own, each pair once."""

    faces: NDArray[np.int64]
    photos: NDArray[np.int64]
    """Rows of the face, and of the photo it is compared with."""
    failed: NDArray[np.bool_]

    def chosen(self, which: NDArray[np.bool_]) -> "MatedPairs":
        return MatedPairs(self.faces[which], self.photos[which], self.failed[which])


def threshold_of(faces: Faces) -> float:
    """Return the similarity at which the FMR of the photos as they are is `FMR`."""
    as_is = faces.kinds == "as it is"
    people, vectors = faces.people[as_is], faces.vectors[as_is]
    return float(np.quantile((vectors @ vectors.T)[np.triu(people[:, None] != people[None])], 1 - FMR))


def compared(faces: Faces, threshold: float) -> MatedPairs:
    """Compare faces with photos as they are."""
    as_is = np.flatnonzero(faces.kinds == "as it is")
    scores = faces.vectors @ faces.vectors[as_is].T
    same_person = faces.people[:, None] == faces.people[as_is][None]
    later = faces.photos[:, None] > faces.photos[as_is][None]
    other_photo = faces.photos[:, None] != faces.photos[as_is][None]
    once = later | (other_photo & (faces.kinds != "as it is")[:, None])
    rows, columns = np.nonzero(same_person & once)
    return MatedPairs(rows, as_is[columns], scores[rows, columns] < threshold)


def discard_curve(pairs: MatedPairs, order: Floats) -> list[float]:
    """Return the false non-match rate when the worst shares of the faces by `order` are discarded.

    The threshold stays, and a pair goes when either face does (Grother and Tabassi, PAMI 29(4), 2007).
    """
    involved = np.union1d(pairs.faces, pairs.photos)
    place = np.zeros(len(order))
    place[involved[np.argsort(order[involved], kind="stable")]] = np.arange(len(involved)) / len(involved)
    worse = np.minimum(place[pairs.faces], place[pairs.photos])
    return [float(pairs.failed[worse >= share].mean()) for share in DISCARDS]


def curves(faces: Faces, name: str, pairs: MatedPairs, seed: int) -> list[dict[str, Any]]:
    """Return the rows of one set: the error against the share discarded, by quality and by the baselines."""
    generator = np.random.default_rng(seed)
    chance = [discard_curve(pairs, generator.random(len(faces.people))) for _ in range(RANDOM_ORDERS)]
    by = {
        "quality": discard_curve(pairs, faces.qualities),
        "confidence": discard_curve(pairs, faces.confidences),
        "size": discard_curve(pairs, faces.sides),
        "random": np.mean(chance, axis=0).tolist(),
    }
    rows = [
        {"faces": name, "discarded %": 100 * share, **{key: 100 * rates[i] for key, rates in by.items()}}
        for i, share in enumerate(DISCARDS)
    ]
    area = {key: 100 * float(np.trapezoid(rates, DISCARDS)) / DISCARDS[-1] for key, rates in by.items()}
    return [*rows, {"faces": name, "discarded %": "mean", **area}]


def failures(faces: Faces, pairs: MatedPairs) -> Floats:
    """Return for each face the share of its comparisons that fail; NaN where it has none."""
    # A pair of two photos as they are counts for both; that of a copy and a photo is no fault of the photo's.
    clean = pairs.chosen(faces.kinds[pairs.faces] == "as it is")
    rows, failed = np.concatenate([pairs.faces, clean.photos]), np.concatenate([pairs.failed, clean.failed])
    size = len(faces.people)
    count = np.bincount(rows, minlength=size)
    return np.where(count > 0, np.bincount(rows, failed, size) / np.maximum(count, 1), np.nan)


def degradations(faces: Faces, failed: Floats, found: dict[str, float]) -> list[dict[str, Any]]:
    """Return for each kind how quality follows the level, and how well it tells failures from successes."""
    rows = []
    for kind, share in found.items():
        here = (faces.kinds == kind) & ~np.isnan(failed)
        quality, level = faces.qualities[here], faces.levels[here]
        thirds = np.quantile(level, [1 / 3, 2 / 3])
        rows.append(
            {
                "kind and level": kind,
                "copies": int(here.sum()),
                "face found %": 100 * share,
                "FNMR %": 100 * failed[here].mean(),
                "quality, mild third": float(np.median(quality[level <= thirds[0]])),
                "quality, worst third": float(np.median(quality[level >= thirds[1]])),
                "rank correlation": float(np.corrcoef(_ranks(level), _ranks(quality))[0, 1]),
                "AUC quality": auc(quality, failed[here] > 0.5),
                "AUC confidence": auc(faces.confidences[here], failed[here] > 0.5),
            }
        )
    return rows


def auc(order: Floats, failed: NDArray[np.bool_]) -> float:
    """Return how often a face that fails has a lower value than one that does not; ties count half."""
    ranks = _ranks(order)
    bad, good = int(failed.sum()), int((~failed).sum())
    if not bad or not good:
        return float("nan")
    return float(1 - (ranks[failed].sum() - bad * (bad - 1) / 2) / (bad * good))


def _ranks(values: Floats) -> Floats:
    """Return ranks from 0, equal values sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)


def calibration(faces: Faces, failed: Floats) -> list[dict[str, Any]]:
    """Return, in bins of quality, how many faces there are and how often their comparisons succeed."""
    rows = []
    edges = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.001]
    as_is = faces.kinds == "as it is"
    known = ~np.isnan(failed)
    for low, high in pairwise(edges):
        here = known & (faces.qualities >= low) & (faces.qualities < high)
        rows.append(
            {
                "quality": f"{low:g} to {min(high, 1):g}",
                "mean": float(faces.qualities[here].mean()) if here.any() else float("nan"),
                "comparisons succeed": float(1 - failed[here].mean()) if here.any() else float("nan"),
                "copies": int((here & ~as_is).sum()),
                "photos as they are": int((here & as_is).sum()),
            }
        )
    return rows


def main() -> None:
    """Print three tables: error against discard, quality by kind of degradation, calibration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of LFW, one folder a person")
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="more folders, one folder a person in each")
    parser.add_argument("--degraded", type=int, default=900, help=f"photos of which {COPIES} copies are made")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    about = machine()
    paths = photos_of(arguments.folder, np.random.default_rng(arguments.seed))
    faces, found = measured(paths, arguments.degraded, arguments.seed)
    threshold = threshold_of(faces)
    pairs = compared(faces, threshold)
    clean = pairs.chosen(faces.kinds[pairs.faces] == "as it is")
    failed = failures(faces, pairs)
    data = (
        f"{arguments.folder.name}, seed {arguments.seed}: {len(paths):,} photos of people not fitted on, {COPIES} "
        f"degraded copies of {arguments.degraded:,} of them; default settings"
    )
    rows = [
        *curves(faces, "as they are", clean, arguments.seed),
        *curves(faces, "with copies", pairs, arguments.seed),
    ]
    others = sorted(path for folder in arguments.others for path in folder.glob("*/*.jpg"))
    if others:
        more, _ = measured(others, len(others), arguments.seed)
        more_pairs = compared(more, threshold)
        rows += curves(more, f"{len(others)} other photos, with copies", more_pairs, arguments.seed)
    names = [f"{folder.parent.name}/{folder.name}" for folder in arguments.others]
    recipe = (
        f"{data}. False non-match rate in % among the faces that are left when the worst are discarded, at the "
        f"threshold of FMR {FMR:g} on the photos as they are; {len(clean.failed):,} and {len(pairs.failed):,} mated "
        f"pairs, a copy against other photos as they are. The other photos are of {' and '.join(names) or 'nowhere'}, "
        f"all copied, at the same threshold. `mean` is the area under the curve over its width; random is "
        f"the mean of {RANDOM_ORDERS} orders."
    )
    publish("quality", "Face quality: error against discard", recipe, rows, about)
    recipe = (
        f"{data}. Levels are drawn evenly on a logarithmic scale; rank correlation is that of level and quality, AUC "
        f"that of telling the copies most of whose comparisons fail, within a kind."
    )
    rows = degradations(faces, failed, found)
    publish("quality_degradations", "Face quality by kind of degradation", recipe, rows, about)
    gate = faces.qualities < Settings().min_quality
    as_is = faces.kinds == "as it is"
    recipe = (
        f"{data}. How often comparisons with other photos of the same person succeed at FMR {FMR:g}, by quality. "
        f"Below the default `min_quality` {Settings().min_quality:g} are {gate[as_is].mean():.2%} of the photos as "
        f"they are and {gate[~as_is].mean():.1%} of the copies, which hold "
        f"{np.nansum(failed[gate]) / np.nansum(failed):.0%} of all failures."
    )
    publish("quality_calibration", "Face quality against success", recipe, calibration(faces, failed), about)


if __name__ == "__main__":
    main()
