from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from faceindex.errors import WeightsError
from faceindex.faces import inception
from faceindex.types import Detections
from tests.support.archives import portrait


def detections(*boxes: tuple[float, float, float, float]) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.zeros((count, 5, 2), np.float32), np.ones(count, np.float32)
    )


def test_faces_are_cut_as_facenet_pytorch_cuts_them() -> None:
    from facenet_pytorch import extract_face

    picture = portrait()
    boxes = [(81.3, 62.8, 168.2, 172.9), (-20.5, -11.0, 90.7, 95.2), (250.1, 260.0, 320.0, 333.3), (5.2, 6.9, 25.1, 30)]

    chips = inception.cut(np.asarray(picture), detections(*boxes))

    for chip, box in zip(chips, boxes, strict=True):
        expected = extract_face(picture, np.array(box, np.float32), image_size=160, margin=0)
        assert np.array_equal(chip, expected.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("box", [(-50, 10, -5, 40), (310, 10, 350, 40), (20, 20, 20.5, 20.5), (30, 30, 10, 10)])
def test_a_box_without_pixels_gives_a_black_chip(box: tuple[float, float, float, float]) -> None:
    chips = inception.cut(np.asarray(portrait()), detections(box))

    assert chips.shape == (1, 160, 160, 3)
    assert not chips.any()


def test_views_of_a_photo_are_as_good_as_copies() -> None:
    pixels, face = np.asarray(portrait())[:, ::-1], detections((40.0, 60.0, 150.0, 170.0))

    assert np.array_equal(inception.cut(pixels, face), inception.cut(pixels.copy(), face))
    assert inception.cut(pixels, detections()).shape == (0, 160, 160, 3)


def test_pixels_are_scaled_as_facenet_pytorch_scales_them() -> None:
    from facenet_pytorch import fixed_image_standardization

    pixels = np.arange(256, dtype=np.float32)

    scaled = inception.scale(pixels)

    assert scaled.dtype == np.float32
    assert np.array_equal(scaled, fixed_image_standardization(torch.from_numpy(pixels)).numpy())


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"conv.weight": torch.ones(3)}, path)

    with pytest.raises(WeightsError, match=f"{path} does not hold facenet-pytorch's InceptionResnetV1"):
        inception.build_module(path)


def test_the_classifier_of_published_weights_is_left_out(tmp_path: Path) -> None:
    from facenet_pytorch import InceptionResnetV1

    path = tmp_path / "published.pt"
    module = InceptionResnetV1(pretrained=None, classify=True, num_classes=11)
    torch.save(module.state_dict(), path)

    built = inception.build_module(path)

    assert not built.training
    assert {name for name in module.state_dict() if not name.startswith("logits.")} == set(built.state_dict())
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in built.state_dict().items())


def test_portraits_stay_pictures() -> None:
    """Guards the oracle: a chip that is black or noise would pass the comparisons above."""
    [chip] = inception.cut(np.asarray(portrait()), detections((81.3, 62.8, 168.2, 172.9)))
    expected = portrait().crop((81, 62, 168, 172)).resize((160, 160), Image.Resampling.BICUBIC)

    assert np.abs(chip.astype(int) - np.asarray(expected)).mean() < 5
