"""Small archives of real photographs for tests of whole runs."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def portrait(name: str = "astronaut") -> Image.Image:
    """Return a photograph of a person that an installed package ships."""
    if name == "astronaut":
        import skimage

        return (
            Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB").crop((100, 0, 400, 300))
        )
    from matplotlib import cbook

    with cbook.get_sample_data("grace_hopper.jpg") as file:
        return Image.open(file).convert("RGB").resize((256, 303))


def make_archive(folder: Path, count: int = 12) -> Path:
    """Write photos of two people in several exposures, one scene, one broken file and one text file."""
    folder.mkdir(parents=True, exist_ok=True)
    people = [portrait("astronaut"), portrait("hopper")]
    for index in range(count):
        pixels = np.asarray(people[index % 2], np.float32) * (0.8 + 0.03 * index)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{index:02}.jpg", quality=90)
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    Image.fromarray(noise).save(folder / "scene.png")
    (folder / "broken.jpg").write_bytes((folder / "00.jpg").read_bytes()[:5000])
    (folder / "text.jpg").write_text("no picture at all")
    for path in folder.iterdir():
        os.utime(path, ns=(10**18, 10**18))
    return folder


def data_files(catalog: Path) -> dict[str, str]:
    """Return the SHA-256 of every data file of a catalog by its path."""
    return {
        str(path.relative_to(catalog)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("photos", "faces", "crops")
        for path in sorted((catalog / folder).rglob("*.parquet"))
    }


def faceindex(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as a user does."""
    command = [sys.executable, "-m", "faceindex.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ROOT, check=False, **options)  # type: ignore[call-overload, no-any-return]
