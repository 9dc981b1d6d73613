"""facenet-pytorch's InceptionResnetV1 as an embedder; the architecture stays in that package.

Its published weights were trained on upright boxes of MTCNN, resized and not rotated, so chips are cut in just that
way, without a margin.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import WeightsError
from faceindex.faces.chips import Boxed
from faceindex.faces.embed import Family
from faceindex.faces.weights import load_state_dict

if TYPE_CHECKING:
    import torch

INPUT_SIZE = 160
DIMENSION = 512


def build_module(path: Path) -> "torch.nn.Module":
    """Return the network: float32 (n, 3, 160, 160) of -1 to 1 in, unit vectors float32 (n, 512) out.

    Raises:
        WeightsError: the file is missing or damaged, or holds another network.
    """
    from facenet_pytorch import InceptionResnetV1

    state = load_state_dict(path)
    module: torch.nn.Module = InceptionResnetV1(pretrained=None, classify=False)
    try:
        # The classifier over the training identities is not part of the embedding.
        module.load_state_dict({name: value for name, value in state.items() if not name.startswith("logits.")})
    except RuntimeError as error:
        raise WeightsError(
            f"{path} does not hold facenet-pytorch's InceptionResnetV1; give its state dict (.pt or .safetensors)"
        ) from error
    return module.eval()


def scale(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring 0 to 255 to -1 to 1, as facenet-pytorch's `fixed_image_standardization` does."""
    return np.asarray((pixels - np.float32(127.5)) / np.float32(128), dtype=np.float32)


FAMILY = Family(DIMENSION, Boxed(INPUT_SIZE), scale, build_module)
