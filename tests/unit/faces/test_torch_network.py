import logging
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from faceindex.errors import ShapeError
from faceindex.faces import dlib_resnet, inception
from faceindex.faces.device_embedder import build_device_embedder, example_chips
from faceindex.faces.embed import NetworkEmbedder
from faceindex.faces.portions import Portions
from faceindex.faces.torch_network import SIZES, TorchNetwork, cosines, folded
from faceindex.types import ModelId

MODEL = ModelId("test@0")


class Normalised(nn.Module):
    """A network with batch normalisations of all kinds: after a convolution, a linear layer, a pooling, and shared."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.first_norm = nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5)
        self.pool_norm = nn.BatchNorm2d(5)
        self.second, self.second_norm = nn.Conv2d(5, 5, 3, padding=1), nn.BatchNorm2d(5)
        self.last, self.last_norm = nn.Linear(5, 7), nn.BatchNorm1d(7)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                for statistic in (part.running_mean, part.bias):
                    nn.init.normal_(statistic)
                for statistic in (part.running_var, part.weight):
                    nn.init.uniform_(statistic, 0.5, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.relu(self.first_norm(self.first(x)))
        x = self.pool_norm(nn.functional.max_pool2d(x, 2))
        plain = self.second(x)  # also used without its normalisation, which must stay
        return self.last_norm(self.last((self.second_norm(plain) + x).mean((2, 3)))), plain


class TooSmallGpu(nn.Module):
    """Stands in for a GPU's memory, which no test can fill: more than `most` items are too many."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.sizes: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return x.flatten(1) * 2


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def batch(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(count).random((count, 3, 12, 10), np.float32)


def test_folded_normalisations_change_nothing() -> None:
    module = Normalised().eval()
    with torch.inference_mode():
        expected = module(torch.from_numpy(batch(9)))

    found = TorchNetwork(module, "cpu")(batch(9))

    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    left = [name for name, part in folded(module).named_modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert left == ["pool_norm", "second_norm"]


def test_inception_embeddings_are_those_of_facenet_pytorch_without_a_normalisation_left() -> None:
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(0)
    module = InceptionResnetV1(pretrained=None).eval()
    chips = example_chips(160)[:2]
    scaled = torch.from_numpy(inception.scale(chips.transpose(0, 3, 1, 2).astype(np.float32)))
    with torch.inference_mode():
        expected = module(scaled) + module(scaled.flip(3))

    embedder = build_device_embedder(MODEL, inception.FAMILY, module, mirror=True, device="cpu")

    assert embedder.network.precision == "bf16"
    assert float(cosines(torch.from_numpy(embedder.embed(chips)), expected).min()) >= 0.999
    parts = embedder.network._module.modules()
    assert not any(isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) for part in parts)


def test_dlib_embeddings_in_bfloat16_point_where_those_in_float32_do() -> None:
    module = dlib_resnet.FAMILY.build(dlib_resnet.packaged_weights())
    exact = NetworkEmbedder(MODEL, dlib_resnet.FAMILY, TorchNetwork(module, "cpu"), mirror=True)
    embedder = build_device_embedder(MODEL, dlib_resnet.FAMILY, module, mirror=True, device="cpu")
    chips = np.random.default_rng(1).integers(0, 256, (5, 150, 150, 3), np.uint8)

    vectors = embedder.embed(chips)

    assert embedder.network.precision == "bf16"
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert (vectors * exact.embed(chips)).sum(axis=1).min() >= 0.999


def test_chips_of_another_size_are_refused() -> None:
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    embedder = build_device_embedder(MODEL, inception.FAMILY, module, mirror=False, device="cpu")

    with pytest.raises(ShapeError, match=r"chips must be uint8 \(n, 160, 160, 3\)"):
        embedder.embed(np.zeros((2, 150, 150, 3), np.uint8))


def test_a_network_that_bfloat16_turns_stays_in_float32_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class Difference(nn.Module):
        """What is left of two nearly equal products, of which bfloat16 keeps nothing."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.one, self.other = (nn.Linear(30, 8, bias=False) for _ in range(2))
            self.other.weight = nn.Parameter(self.one.weight + 1e-4 * torch.randn_like(self.one.weight))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.one(x) - self.other(x)

    example = np.random.default_rng(0).random((4, 30), np.float32)
    with caplog.at_level(logging.WARNING):
        network = TorchNetwork(Difference().eval(), "cpu", example=example)

    assert network.precision == "f32"
    assert "stays in float32" in caplog.text
    assert TorchNetwork(nn.Linear(30, 8), "cpu", example=example).precision == "bf16"
    assert TorchNetwork(nn.Linear(30, 8), "cpu").precision == "f32"


@pytest.mark.parametrize("count", [0, 1, 16, 17, 100, 513, 1200])
def test_batches_are_filled_up_to_a_few_sizes_and_come_back_as_they_were(count: int) -> None:
    module = TooSmallGpu(10_000)
    x = np.random.default_rng(0).random((count, 6), np.float32)

    [found] = TorchNetwork(module, "cpu")(x)

    np.testing.assert_array_equal(found, x * 2)
    assert set(module.sizes) <= set(SIZES)
    assert sum(module.sizes) < count + SIZES[-1]


def test_a_batch_too_large_for_the_gpu_is_halved_and_stays_so() -> None:
    module = TooSmallGpu(100)
    network = TorchNetwork(module, "cpu")
    x = np.random.default_rng(0).random((1000, 6), np.float32)

    np.testing.assert_array_equal(network(x)[0], x * 2)
    tried = list(module.sizes)
    np.testing.assert_array_equal(network(x)[0], x * 2)

    assert tried[:4] == [512, 256, 128, 64]
    assert all(size <= 100 for size in tried[3:])
    assert module.sizes[len(tried) :] == tried[3:]


def test_memory_too_small_for_one_item_is_an_error() -> None:
    with pytest.raises(torch.cuda.OutOfMemoryError):
        TorchNetwork(TooSmallGpu(0), "cpu")(np.zeros((40, 6), np.float32))


def test_portions_are_in_order_whole_and_within_the_limit() -> None:
    sizes = [5, 1, 1, 20, 3, 3, 3, 3, 1]
    parts = Portions(7).run(lambda part: part, sizes)

    assert [part.start for part in parts] == [0, 3, 4, 6]
    assert parts[-1].stop == len(sizes)
    assert all(a.stop == b.start for a, b in pairwise(parts))
    assert all(sum(sizes[part]) <= 7 or part.stop - part.start == 1 for part in parts)


@pytest.mark.gpu
@pytest.mark.parametrize("count", [3, 16, 700])
def test_recorded_batches_on_a_gpu_give_what_the_cpu_gives(count: int) -> None:
    if not torch.cuda.is_available():
        pytest.skip("this machine has no GPU")
    network = TorchNetwork(Normalised(), "cuda")
    expected = TorchNetwork(Normalised(), "cpu")(batch(count))

    for _ in range(3):
        for ours, theirs in zip(network(batch(count)), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    assert network._graphs, "the network was not recorded"


@pytest.mark.gpu
def test_embeddings_in_bfloat16_on_a_gpu_point_where_those_of_the_cpu_do() -> None:
    if not torch.cuda.is_available():
        pytest.skip("this machine has no GPU")
    module = dlib_resnet.FAMILY.build(dlib_resnet.packaged_weights())
    exact = NetworkEmbedder(MODEL, dlib_resnet.FAMILY, TorchNetwork(module, "cpu"), mirror=True)
    chips = np.random.default_rng(1).integers(0, 256, (20, 150, 150, 3), np.uint8)
    expected = exact.embed(chips)

    embedder = build_device_embedder(MODEL, dlib_resnet.FAMILY, module, mirror=True)

    assert embedder.network.precision == "bf16"
    assert (embedder.embed(chips) * expected).sum(axis=1).min() >= 0.999
