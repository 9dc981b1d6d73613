"""Speed on one GPU: embedding, detection, whole runs of `faceindex index`, against targets and the hardware's limit.

    python benchmarks/gpu.py --lfw lfw-dev

Takes less than eight minutes. Without --lfw, 5,000 photos of LFW's size are made of two portraits that installed
packages ship, like the 12-megapixel ones always are. `--smoke` runs every part on the CPU at tiny sizes, to see that
this script works; its figures mean nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from report import machine, publish

from faceindex.faces import dlib_resnet, inception
from faceindex.faces.device_embedder import build_device_embedder
from faceindex.faces.device_mtcnn import DeviceMtcnn
from faceindex.faces.embed import Family
from faceindex.types import ModelId

INDEX = [sys.executable, "-m", "faceindex.cli.main", "index"]

FLOP_PER_S = 790e12
BYTES_PER_S = 3.0e12
"""What an H100 was measured to do: dense bfloat16 products, and memory."""

INCEPTION_FLOP, INCEPTION_BYTES = 2.835e9, 14.4e6
DLIB_FLOP, DLIB_BYTES = 0.509e9, 2.6e6
"""For a face: twice the multiplications of all layers; and memory traffic with every layer fused with its activation,
each convolution's output written and read once in bfloat16. dlib's traffic is scaled from that of the other by FLOP."""

PYRAMID_FLOP, PYRAMID_BYTES = 3500, 67
"""P-Net, for a pixel of the pyramid, likewise. R-Net and O-Net depend on what is in a photo, and are left out."""

TARGETS = {
    "InceptionResnetV1 faces/s": 20_000,
    "detection 1 MP photos/s": 3_000,
    "LFW index photos/s": 5_000,
    "LFW index photos/s, start-up left out": 5_000,
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything is measured."""

    rounds: int = 5
    chips: int = 4096
    large: int = 64
    small: int = 512
    lfw_photos: int = 5000
    twelve_megapixel_photos: int = 320
    twelve_megapixel_shape: tuple[int, int] = (3000, 4000)
    one_megapixel_shape: tuple[int, int] = (866, 1155)


TINY = Sizes(1, 2, 1, 2, 3, 2, (300, 400), (160, 200))


class Busy:
    """Share of time in which the GPU did something, by what nvidia-smi says five times a second."""

    def __init__(self) -> None:
        self._samples: list[float] = []
        self._process: subprocess.Popen[str] | None = None

    @contextmanager
    def watching(self) -> Iterator["Busy"]:
        """Watch the first GPU inside the `with` block."""
        query = ["nvidia-smi", "-i", "0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
        try:
            self._process = subprocess.Popen(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except OSError:
            yield self
            return
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        try:
            yield self
        finally:
            self._process.terminate()
            self._process.wait()
            reader.join()

    def since(self, first: int) -> str:
        """Return the mean share from sample `first` on, in words."""
        samples = self._samples[first:]
        return f"{mean(samples):.0f} %" if samples else "-"

    def __len__(self) -> int:
        return len(self._samples)

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip().isdigit():
                self._samples.append(float(line))


def rate(count: int, work: Callable[[], object], rounds: int) -> list[float]:
    """Return items per second of each round, after one that is not counted."""
    rates = []
    for number in range(rounds + 1):
        started = time.perf_counter()
        work()
        if number:
            rates.append(count / (time.perf_counter() - started))
    return rates


@cache
def portraits() -> list[Image.Image]:
    """Return two photographs of people that installed packages ship."""
    import skimage
    from matplotlib import cbook

    with cbook.get_sample_data("grace_hopper.jpg") as file:
        hopper = Image.open(file).convert("RGB")
    astronaut = Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB")
    return [astronaut.crop((100, 0, 400, 300)), hopper]


def scene(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Return a picture of some people, uint8 (height, width, 3), different for each seed."""
    random = np.random.default_rng(seed)
    # A coarse random background, enlarged: smooth, as most of a photo is.
    coarse = random.integers(0, 256, (height // 64 + 2, width // 64 + 2, 3), np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    for _ in range(1 + height * width // 300_000 % 6):
        person = portraits()[random.integers(2)]
        side = int(random.uniform(0.4, 0.9) * min(height, width))
        place = (int(random.uniform(0, width - side)), int(random.uniform(0, height - side)))
        picture.paste(person.resize((side, side)), place)
    return np.asarray(picture)


def make_photos(folder: Path, count: int, height: int, width: int) -> Path:
    """Write different JPEGs of one size."""
    folder.mkdir()
    pictures = [scene(height, width, seed) for seed in range(min(count, 16))]
    for number in range(count):
        # Other bytes each time, so that none is taken for a copy.
        picture = np.roll(pictures[number % 16], 8 * (number // 16), axis=1)
        picture = np.clip(picture.astype(np.int16) + number % 7 - 3, 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{number:05}.jpg", quality=88)
    return folder


def embedding(name: str, family: Family, module: torch.nn.Module, cost: tuple[float, float], run: "Run") -> None:
    """Measure faces per second, from bytes in this process's memory to unit vectors there, not mirrored."""
    embedder = build_device_embedder(ModelId(name), family, module, mirror=False, device=run.device)
    size = family.cutter.size
    chips = np.random.default_rng(0).integers(0, 256, (run.sizes.chips, size, size, 3), np.uint8)
    run.measure(f"{name} faces/s", len(chips), lambda: embedder.embed(chips), cost, embedder.network.precision)


def detection(
    name: str, shape: tuple[int, int], count: int, smallest: float, detector: DeviceMtcnn, run: "Run"
) -> None:
    """Measure photos per second, from decoded pictures to boxes and landmarks."""
    pictures = [scene(*shape, seed) for seed in range(min(count, 16))]
    pictures = [pictures[number % len(pictures)] for number in range(count)]
    pixels = sum(shape[0] * shape[1] * (12 / smallest) ** 2 * 0.709 ** (2 * level) for level in range(20))
    faces = sum(map(len, detector.detect(pictures, [smallest] * count)))
    note = f"{shape[1]} x {shape[0]}, min face {smallest:g}, {faces / count:.1f} faces each"
    cost = (PYRAMID_FLOP * pixels, PYRAMID_BYTES * pixels)
    run.measure(name, count, lambda: detector.detect(pictures, [smallest] * count), cost, note)


def indexing(name: str, photos: Path, run: "Run") -> None:
    """Measure whole runs of `faceindex index`, and what they take beyond a run over one photo."""
    one = run.folder / f"{name} one"
    one.mkdir()
    first = next(path for path in sorted(photos.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg"))
    (one / first.name).write_bytes(first.read_bytes())
    index(one, run)  # fills caches
    start_s, _ = index(one, run)
    watched = len(run.busy)
    whole_s, document = index(photos, run)
    count = sum(document["photos"].values())
    busy = run.busy.since(watched)
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in document.get("stages", {}).items())
    run.add(
        f"{name} index photos/s", [count / whole_s], None, busy, f"{count} photos, {document['faces']} faces; {stages}"
    )
    if whole_s > 1.2 * start_s:  # less says nothing of photos
        note = f"{start_s:.1f} s for one photo"
        run.add(f"{name} index photos/s, start-up left out", [(count - 1) / (whole_s - start_s)], None, busy, note)


def index(photos: Path, run: "Run") -> tuple[float, dict[str, Any]]:
    """Return the seconds of a run into a new catalog, and its report."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*INDEX, str(photos), "-c", f"{folder}/catalog", "--device", run.device, "--json"]
        started = time.perf_counter()
        done = subprocess.run(
            command + (["--workers", "0"] if run.device == "cpu" else []), capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - started
    if done.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr}")
    return seconds, json.loads(done.stdout)


class Run:
    """What is measured with, and the rows measured so far."""

    def __init__(self, device: str, sizes: Sizes, folder: Path, busy: Busy) -> None:
        self.device, self.sizes, self.folder, self.busy = device, sizes, folder, busy
        self.rows: list[dict[str, Any]] = []

    def measure(self, name: str, count: int, work: Callable[[], object], cost: tuple[float, float], note: str) -> None:
        """Measure work on `count` items, each of which takes `cost`: FLOP, and bytes of memory traffic."""
        watched = len(self.busy)
        rates = rate(count, work, self.sizes.rounds)
        self.add(name, rates, cost, self.busy.since(watched), note)

    def add(self, name: str, rates: list[float], cost: tuple[float, float] | None, busy: str, note: str) -> None:
        """Add a row, and print it as it comes."""
        reached = median(rates)
        target = TARGETS.get(name)
        limit = min(FLOP_PER_S / cost[0], BYTES_PER_S / cost[1]) if cost else None
        row = {
            "figure": name,
            "median": reached,
            "all": ", ".join(f"{value:.4g}" for value in rates),
            "target": f"{target:,}" if target else "-",
            "reached": f"{reached / target:.2f}" if target else "-",
            "GFLOP each": f"{cost[0] / 1e9:.3g}" if cost else "-",
            "H100 limit": f"{limit:,.0f}" if limit else "-",
            "share of it": f"{reached / limit:.1%}" if limit else "-",
            "GPU busy": busy,
            "note": note,
        }
        self.rows.append(row)
        print(f"{name}: {reached:,.4g} ({note}; GPU busy {busy})", file=sys.stderr)


def measured(run: Run, lfw: Path | None) -> None:
    """Measure everything."""
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(0)
    module = InceptionResnetV1(pretrained=None).eval()
    embedding("InceptionResnetV1", inception.FAMILY, module, (INCEPTION_FLOP, INCEPTION_BYTES), run)
    module = dlib_resnet.FAMILY.build(dlib_resnet.packaged_weights())
    embedding("dlib-resnet29", dlib_resnet.FAMILY, module, (DLIB_FLOP, DLIB_BYTES), run)
    detector = DeviceMtcnn(torch.device(run.device), half=True)
    detection("detection 1 MP photos/s", run.sizes.one_megapixel_shape, run.sizes.large, 40, detector, run)
    detection("detection LFW-size photos/s", (250, 250), run.sizes.small, 20, detector, run)
    del detector
    if run.device == "cuda":
        torch.cuda.empty_cache()
    indexing("LFW", lfw or make_photos(run.folder / "lfw", run.sizes.lfw_photos, 250, 250), run)
    height, width = run.sizes.twelve_megapixel_shape
    indexing("12 MP", make_photos(run.folder / "12", run.sizes.twelve_megapixel_photos, height, width), run)


def main() -> None:
    """Print and write the table; without a GPU end with code 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, help="folder with LFW, for the whole run over small photos")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes on the CPU, to try the script")
    arguments = parser.parse_args()
    if not arguments.smoke and not torch.cuda.is_available():
        print("gpu.py needs a CUDA GPU and torch finds none; --smoke tries the script on the CPU", file=sys.stderr)
        raise SystemExit(2)
    about = machine()
    with tempfile.TemporaryDirectory() as folder, Busy().watching() as busy:
        if arguments.smoke:
            run = Run("cpu", TINY, Path(folder), busy)
        else:
            about = {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda, **about}
            run = Run("cuda", Sizes(), Path(folder), busy)
        measured(run, arguments.lfw)
    if arguments.smoke:
        print(json.dumps(run.rows))
        return
    recipe = (
        f"Medians of {run.sizes.rounds} rounds after one that is not counted; whole runs once, as a process of their "
        f"own; start-up is the time of a run over one photo. Small photos: {arguments.lfw or 'generated'}; "
        f"12 MP photos generated. InceptionResnetV1 with random weights. The limit is that of an H100: the lower of "
        f"{FLOP_PER_S / 1e12:.0f} TFLOP/s in bfloat16 and {BYTES_PER_S / 1e12:.1f} TB/s over what a face or P-Net's "
        f"pyramid takes at least."
    )
    publish("gpu", "One GPU: embedding, detection, whole runs", recipe, run.rows, about)


if __name__ == "__main__":
    main()
