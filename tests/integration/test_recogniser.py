"""From a picture to embeddings with the networks a new catalog has."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFilter

from faceindex.config import Settings
from faceindex.errors import ConfigError, ItemError, WeightsError
from faceindex.faces.detect import FaceSizes
from faceindex.faces.loading import embedder_id
from faceindex.faces.recogniser import Recogniser
from faceindex.faces.turned import AllTurns, turned_back
from faceindex.images.decode import decode
from faceindex.types import Image, PhotoFaces, PhotoState
from tests.support.archives import portrait
from tests.support.pictures import encode


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recogniser]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEINDEX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Recogniser.load(Settings(), "cpu")


def photo(picture: Pillow.Image) -> Image:
    return Image(bytes(16), b"/photo.png", np.array(picture), "PNG")


def test_the_same_person_is_found_at_every_size_and_told_from_another(recogniser: Recogniser) -> None:
    astronaut, hopper = portrait("astronaut"), portrait("hopper")
    larger = astronaut.resize((2400, 2400))  # larger than photos are searched at

    [a], [large], [other] = (faces.vectors for faces in recogniser.faces(list(map(photo, (astronaut, larger, hopper)))))

    assert a @ large > 0.98
    assert a @ other < 0.93
    assert np.linalg.norm(np.stack([a, large, other]), axis=1) == pytest.approx(1, abs=1e-6)


def test_a_photo_has_the_same_faces_whatever_is_processed_with_it(recogniser: Recogniser) -> None:
    photos = [photo(portrait("astronaut")), photo(Pillow.new("RGB", (70, 50))), photo(portrait("hopper").rotate(20))]

    together = recogniser.faces(photos)

    for image, expected in zip(photos, together, strict=True):
        [alone] = recogniser.faces([image])
        np.testing.assert_allclose(alone.detections.boxes, expected.detections.boxes, rtol=0, atol=0.01)
        np.testing.assert_allclose(alone.vectors, expected.vectors, rtol=0, atol=1e-3)
        np.testing.assert_allclose(alone.qualities, expected.qualities, rtol=0, atol=1e-3)


@pytest.mark.parametrize("turns", range(4))
def test_every_face_is_found_once_and_known_again_however_its_photo_lies(recogniser: Recogniser, turns: int) -> None:
    thorough = replace(recogniser, detector=AllTurns(recogniser.detector))
    portraits = [photo(portrait(name)) for name in ("astronaut", "hopper")]
    turned = [replace(image, pixels=np.ascontiguousarray(np.rot90(image.pixels, turns))) for image in portraits]

    found = thorough.faces(turned)

    for image, ours, upright in zip(portraits, found, recogniser.faces(portraits), strict=True):
        assert len(ours.detections) == len(upright.detections) == 1
        back = turned_back(ours.detections, turns, *image.pixels.shape[:2])
        np.testing.assert_allclose(back.boxes, upright.detections.boxes, rtol=0, atol=1)
        np.testing.assert_allclose(back.landmarks, upright.detections.landmarks, rtol=0, atol=1)
        assert ours.vectors[0] @ upright.vectors[0] > 0.999


def test_the_settings_say_whether_pictures_are_turned(recogniser: Recogniser) -> None:
    thorough = Recogniser.load(Settings(turned=True), "cpu")

    assert thorough.detector.id == f"{recogniser.detector.id}-turned"
    assert thorough.embedder.model == recogniser.embedder.model


def test_small_faces_of_a_large_photo_are_embedded_from_the_photo_in_full(recogniser: Recogniser) -> None:
    """The reduced copy that they are found in shows them at half the size."""
    picture = Pillow.new("RGB", (2600, 1800), "grey")
    picture.paste(portrait("astronaut"), (300, 500))
    picture.paste(portrait("hopper"), (1700, 900))
    payload = encode(picture, "JPEG", quality=95)
    in_full, reduced = decode(payload, b"/photo.jpg", 100), decode(payload, b"/photo.jpg", 100, 1280)
    assert reduced.whole is not None
    blurred = replace(reduced, whole=replace(reduced.whole, decode=broken))

    [expected], [found], [worse] = (recogniser.faces([image]) for image in (in_full, reduced, blurred))

    assert len(found.detections) == len(expected.detections) == 2
    # Faces of the same score may come in either order.
    same, unlike = found.vectors @ expected.vectors.T, worse.vectors @ expected.vectors.T
    assert np.all(same.max(axis=1) > 0.99)
    assert np.all(unlike.max(axis=1) < same.max(axis=1))


def broken(scale: float) -> NDArray[np.uint8]:
    raise ItemError(PhotoState.TRUNCATED, "cut short")


@pytest.mark.slow
def test_faces_of_real_photos_are_good_and_their_blurred_copies_are_not(
    shared_data: Path, recogniser: Recogniser
) -> None:
    pictures = [Pillow.open(path).convert("RGB") for path in sorted((shared_data / "lfw-dev").glob("*/*.jpg"))[::150]]
    blurred = [picture.filter(ImageFilter.GaussianBlur(6)) for picture in pictures]

    # The face in the middle is the one the photo is of.
    good, bad = (
        [middle_quality(faces) for faces in recogniser.faces(list(map(photo, some)))] for some in (pictures, blurred)
    )

    assert len(good) >= 45
    assert np.median(good) > 0.95
    assert np.median(bad) < 0.4
    assert np.mean(np.greater(good, bad)) > 0.98


def middle_quality(faces: PhotoFaces) -> float:
    if not len(faces.detections):
        return 0.0
    centres = (faces.detections.boxes[:, :2] + faces.detections.boxes[:, 2:]) / 2
    return float(faces.qualities[np.linalg.norm(centres - 125, axis=1).argmin()])


def test_the_settings_name_the_model(recogniser: Recogniser) -> None:
    settings = Settings()

    assert recogniser.embedder.model == embedder_id(settings.embedder, mirror=settings.mirror)
    assert recogniser.sizes == FaceSizes.of(settings)


def test_unknown_models_and_missing_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEINDEX_CACHE", str(tmp_path))

    with pytest.raises(ConfigError, match="did you mean dlib-resnet29"):
        Recogniser.load(Settings(embedder="dlib-resnet"), "cpu")
    with pytest.raises(ConfigError, match="mtcnn"):
        Recogniser.load(Settings(detector="mtcn"), "cpu")
    with pytest.raises(WeightsError, match="faceindex models fetch facenet-casia"):
        Recogniser.load(Settings(embedder="facenet-casia"), "cpu")
