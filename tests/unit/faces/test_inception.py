from pathlib import Path

import numpy as np
import pytest
import torch

from faceindex.errors import WeightsError
from faceindex.faces import inception


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
