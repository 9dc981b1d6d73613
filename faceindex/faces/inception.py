"""facenet-pytorch's InceptionResnetV1 as an embedder; the architecture stays in that package.

Its published weights were trained on faces cut by MTCNN's box and resized, not rotated, so chips are cut in just
that way (`facenet_pytorch.extract_face` without a margin).
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from faceindex.faces.area import resize, running_sums
from faceindex.faces.weights import load_state_dict
from faceindex.types import Detections

if TYPE_CHECKING:
    import torch

INPUT_SIZE = 160
DIMENSION = 512


def build_module(path: Path, sha256: str | None) -> "torch.nn.Module":
    """Return the network: float32 (n, 3, 160, 160) of -1 to 1 in, unit vectors float32 (n, 512) out."""
    from facenet_pytorch import InceptionResnetV1

    state = load_state_dict(path, sha256)
    module: torch.nn.Module = InceptionResnetV1(pretrained=None, classify=False)
    # The classifier over the training identities is not part of the embedding.
    module.load_state_dict({name: value for name, value in state.items() if not name.startswith("logits.")})
    return module.eval()


def scale(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring 0 to 255 to -1 to 1, as facenet-pytorch's `fixed_image_standardization` does."""
    return np.asarray((pixels - np.float32(127.5)) / np.float32(128), dtype=np.float32)


def cut(pixels: NDArray[np.uint8], detections: Detections, size: int) -> NDArray[np.uint8]:
    """Return each box of a photo resized to a square, uint8 (n, size, size, 3)."""
    height, width = pixels.shape[:2]
    chips = np.zeros((len(detections), size, size, 3), np.uint8)
    for chip, box in zip(chips, detections.boxes, strict=True):
        x0, y0 = (max(int(edge), 0) for edge in box[:2])
        x1, y1 = min(int(box[2]), width), min(int(box[3]), height)
        if x1 > x0 and y1 > y0:
            chip[...] = resize(running_sums(pixels[y0:y1, x0:x1]), size, size)
    return chips
