"""Loads weight files; the only module that does."""

from pathlib import Path
from typing import Any


def load_state_dict(path: Path, sha256: str) -> dict[str, Any]:
    import torch

    return torch.load(path, weights_only=True)
