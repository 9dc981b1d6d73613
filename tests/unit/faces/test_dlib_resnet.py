import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from faceindex.errors import WeightsError
from faceindex.faces.dlib_resnet import SHA256, build_module, packaged_weights, read_weights
from faceindex.faces.weights import sha256_of


@pytest.fixture(scope="module")
def content() -> bytes:
    return packaged_weights().read_bytes()


def test_the_packaged_file_is_found_without_importing_its_package() -> None:
    code = (
        "import sys; from faceindex.faces.dlib_resnet import packaged_weights; print(packaged_weights());"
        "assert not {'face_recognition_models', 'pkg_resources', 'torch'} & set(sys.modules)"
    )

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert sha256_of(Path(run.stdout.strip())) == SHA256


def test_the_file_holds_the_published_network() -> None:
    weights = read_weights(packaged_weights())

    # Means of dlib's input_rgb_image_sized<150>, and the parameters left when affine layers are folded away.
    np.testing.assert_allclose(weights.mean, [122.782, 117.001, 104.298], rtol=1e-6)
    assert len(weights.convolutions) == len(weights.affines) == 29
    assert sum(parameter.numel() for parameter in build_module(weights).parameters()) == 5_607_488


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.dat"
    sizes = [0, 1, 30, 0x121, 334, 1000, *random.Random(0).sample(range(len(content)), 12), len(content) - 1]
    for size in sizes:
        path.write_bytes(content[:size])

        with pytest.raises(WeightsError, match="not dlib's face-recognition network"):
            read_weights(path)


def test_damage_before_the_first_numbers_is_refused_or_harmless(tmp_path: Path, content: bytes) -> None:
    path, generator = tmp_path / "weights.dat", random.Random(1)
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        damaged[generator.randrange(400)] = generator.randrange(256)
        path.write_bytes(damaged)

        try:  # any other exception, or a loop without end, fails
            read_weights(path)
        except WeightsError:
            refused += 1

    assert refused > 10


def test_a_size_below_zero_is_refused(tmp_path: Path, content: bytes) -> None:
    at = content.index(b"loss_metric_2")
    path = tmp_path / "weights.dat"
    path.write_bytes(content[: at - 2] + b"\x81" + content[at - 1 :])

    with pytest.raises(WeightsError, match="-13 bytes wanted"):
        read_weights(path)


def test_more_after_the_last_layer_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.dat"
    path.write_bytes(content + b"\x01\x00")

    with pytest.raises(WeightsError, match="not dlib's face-recognition network"):
        read_weights(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot read .*absent\.dat"):
        read_weights(tmp_path / "absent.dat")
    for other in ("shape_predictor_5_face_landmarks.dat", "mmod_human_face_detector.dat"):
        with pytest.raises(WeightsError, match="not dlib's face-recognition network"):
            read_weights(packaged_weights().with_name(other))


def test_a_folded_module_computes_what_the_layers_of_the_file_say() -> None:
    weights = read_weights(packaged_weights())
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 150, 150)).astype(np.float32))
    layers = iter(zip(weights.convolutions, weights.affines, strict=True))

    def layer(x: torch.Tensor) -> torch.Tensor:
        (filters, bias, stride), (scale, shift) = next(layers)
        padding = 0 if stride == 2 else 1
        y = functional.conv2d(x, torch.tensor(filters), torch.tensor(bias), stride, padding)
        return y * torch.tensor(scale)[:, None, None] + torch.tensor(shift)[:, None, None]

    def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        total = torch.zeros([max(sizes) for sizes in zip(x.shape, y.shape, strict=True)])
        for part in (x, y):
            total[:, : part.shape[1], : part.shape[2], : part.shape[3]] += part
        return total

    x = functional.relu(layer((pixels - torch.tensor(weights.mean)[:, None, None]) / 256))
    x = functional.max_pool2d(x, 3, 2)
    for halves in [False] * 3 + [True, *[False] * 3] + [True, *[False] * 2] * 2 + [True]:
        y = layer(functional.relu(layer(x)))
        x = functional.relu(add(functional.avg_pool2d(x, 2) if halves else x, y))
    expected = x.mean(dim=(2, 3)) @ torch.tensor(weights.projection)
    with torch.inference_mode():
        found = build_module(weights)(pixels)

    assert expected.shape == (2, 128)
    assert (found - expected).abs().max() < 1e-5
