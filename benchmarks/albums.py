"""Albums with a known truth: group pictures composed of labelled faces, of their embeddings or of their pixels."""

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageEnhance

from faceindex.arrays import l2_normalize
from faceindex.evaluation.unlabelled_pairs import UnlabelledPairs, distinct_pairs, in_photo_pairs

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

SAME_PERSON = 0.005
"""Share of the pairs of an album that are of one person."""
BURSTS = 0.2
"""Share of the pictures that are there three times."""
BURST_COSINE = 0.998
"""Of two pictures of a burst: between small crops and changes of exposure, as the pixels below say."""
DOUBLES = 0.01
"""Share of the faces that are found twice, in boxes that overlap."""
TILE = (170, 200)
"""Width and height of the part of an LFW picture that goes into a group picture."""


@dataclass
class Album:
    """Faces in photos, as a catalog has them."""

    photos: Rows
    boxes: NDArray[np.float32]
    vectors: Vectors
    subjects: Rows

    def pairs(self, alike: float, seed: int) -> dict[str, UnlabelledPairs]:
        """Return the pairs there are enough of, by where they are from."""
        found = {
            "archive": distinct_pairs(self.vectors, alike, seed),
            "photos": in_photo_pairs(self.photos, self.boxes, self.vectors, alike, seed),
        }
        return {where: pairs for where, pairs in found.items() if pairs.enough}


def composed_album(
    vectors: Vectors,
    subjects: Rows,
    people: Rows,
    faces: int,
    generator: np.random.Generator,
    same_person: float = SAME_PERSON,
) -> Album:
    """Return group pictures of 2 to 8 of the people, composed of their embeddings until there are so many faces."""
    of_person = {person: np.flatnonzero(subjects == person) for person in people}
    several = [person for person in people if len(of_person[person]) > 1]
    pictures: list[list[int]] = []
    while sum(map(len, pictures)) < faces:
        group = generator.choice(people, generator.integers(2, 9), replace=False)
        pictures.append([int(generator.choice(of_person[person])) for person in group])
    pair_count = sum(len(picture) * (len(picture) - 1) // 2 for picture in pictures)
    twice = generator.permutation(len(pictures))[: round(same_person * pair_count)]
    for picture in (pictures[number] for number in twice):
        picture[:2] = map(int, generator.choice(of_person[generator.choice(several)], 2, replace=False))
    rows, photos, boxes, exact = [], [], [], []
    number = 0
    for picture in pictures:
        for copy in range(3 if generator.random() < BURSTS else 1):
            for place, row in enumerate(picture):
                for double in range(2 if generator.random() < DOUBLES else 1):
                    left = 100 * place + 20 * double
                    rows.append(row)
                    photos.append(number)
                    boxes.append((left, 0, left + 80, 100))
                    exact.append(not (copy or double))
            number += 1
    chosen = np.array(rows)
    sigma = math.sqrt((1 / BURST_COSINE**2 - 1) / vectors.shape[1])
    noise = sigma * generator.standard_normal((len(rows), vectors.shape[1])) * ~np.array(exact)[:, None]
    found = l2_normalize(vectors[chosen] + noise.astype(np.float32))
    return Album(np.array(photos), np.array(boxes, np.float32), found, subjects[chosen])


def portraits(vectors: Vectors, subjects: Rows, people: Rows) -> Album:
    """Return every photo of the people as an album of one face a photo."""
    rows = np.flatnonzero(np.isin(subjects, people))
    return Album(rows, np.zeros((len(rows), 4), np.float32), vectors[rows], subjects[rows])


def group_picture(paths: list[str], generator: np.random.Generator) -> tuple[Pillow.Image, NDArray[np.float32]]:
    """Return LFW's pictures side by side in one or two lines, each a little larger or smaller, and their boxes."""
    columns = math.ceil(len(paths) / 2) if len(paths) > 4 else len(paths)
    width, height = (int(1.3 * side) for side in TILE)
    canvas = Pillow.new("RGB", (columns * width, math.ceil(len(paths) / columns) * height), (128, 128, 128))
    boxes = []
    for number, path in enumerate(paths):
        scale = generator.uniform(0.8, 1.3)
        picture = Pillow.open(path).convert("RGB")
        left, top = ((side - part) // 2 for side, part in zip(picture.size, TILE, strict=True))
        tile = picture.crop((left, top, left + TILE[0], top + TILE[1]))
        tile = tile.resize((round(TILE[0] * scale), round(TILE[1] * scale)), Pillow.Resampling.BICUBIC)
        x, y = number % columns * width, number // columns * height
        canvas.paste(tile, (x, y))
        boxes.append((x, y, x + tile.size[0], y + tile.size[1]))
    return as_jpeg(canvas), np.array(boxes, np.float32)


def burst_copy(picture: Pillow.Image, generator: np.random.Generator) -> Pillow.Image:
    """Return the picture cropped by up to 3 % at each side and a little lighter or darker."""
    width, height = picture.size
    left, top, right, bottom = generator.uniform(0, 0.03, 4)
    box = (int(left * width), int(top * height), int((1 - right) * width), int((1 - bottom) * height))
    return as_jpeg(ImageEnhance.Brightness(picture.crop(box)).enhance(float(generator.uniform(0.8, 1.2))))


def as_jpeg(picture: Pillow.Image) -> Pillow.Image:
    """Return the picture after it was a JPEG file."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88)
    return Pillow.open(file).convert("RGB")
