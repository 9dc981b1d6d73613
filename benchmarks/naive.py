"""The baseline: facenet-pytorch as its README shows it, one photo at a time.

    python benchmarks/naive.py PHOTOS --photos 300 --min-face 20

MTCNN finds the faces, InceptionResnetV1 embeds them. Its weights are random, which changes no speed.
"""

import argparse
import json
import random
import time
from pathlib import Path

import torch
from facenet_pytorch import MTCNN, InceptionResnetV1
from PIL import Image


def main() -> None:
    """Print a line of JSON: photos, faces, seconds and photos per second, models loaded beforehand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--min-face", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    paths = random.Random(arguments.seed).sample(paths, min(arguments.photos, len(paths)))
    mtcnn = MTCNN(keep_all=True, min_face_size=arguments.min_face)
    embedder = InceptionResnetV1(pretrained=None).eval()

    started = time.perf_counter()
    face_count = 0
    with torch.no_grad():
        for path in paths:
            faces = mtcnn(Image.open(path).convert("RGB"))
            if faces is not None:
                embedder(faces)
                face_count += len(faces)
    seconds = time.perf_counter() - started
    print(json.dumps({"photos": len(paths), "faces": face_count, "seconds": seconds, "rate": len(paths) / seconds}))


if __name__ == "__main__":
    main()
