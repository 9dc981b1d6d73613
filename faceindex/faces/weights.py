"""Files of weights: where they are, whether they are what they should be, and how they are read.

The only module that fetches, checks or loads weights. Nothing is fetched unless the user asks for it.
"""

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

from faceindex.errors import WeightsError
from faceindex.faces.networks import cache_folder

if TYPE_CHECKING:
    import torch

TIMEOUT_S = 60
BLOCK_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits; raises `WeightsError` when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error


def load_state_dict(path: Path, sha256: str | None = None) -> "dict[str, torch.Tensor]":
    """Return the parameters in a safetensors file or a PyTorch file, without running any code the file may hold.

    Args:
        path: the file.
        sha256: what its SHA-256 must be; None takes any.

    Raises:
        WeightsError: missing, another SHA-256, or no state dict.
    """
    import torch
    from safetensors.torch import load_file

    if sha256 is not None and (found := sha256_of(path)) != sha256:
        raise WeightsError(f"{path} has sha256 {found}, {sha256} wanted; it is damaged or another file: fetch it again")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:
        raise WeightsError(f"{path} is not a file of weights: {str(error).splitlines()[0]}") from error
    if not isinstance(state, dict):
        raise WeightsError(f"{path} holds a {type(state).__name__}, a state dict wanted")
    return state


def fetched_path(name: str) -> Path:
    """Return where the weights of a model stand once they were fetched."""
    return cache_folder() / "weights" / f"{name}.safetensors"


def pinned_sha256(name: str) -> str | None:
    """Return the SHA-256 noted when a model's weights were first fetched; None when they were not."""
    try:
        return fetched_path(name).with_suffix(".sha256").read_text().strip()
    except OSError:
        return None


def fetch(name: str, url: str, sha256: str | None) -> Path:
    """Download weights, check them, and keep them as safetensors.

    Where no SHA-256 is known in advance, that of the first download is noted beside the file, and every later one
    must equal it.

    Raises:
        WeightsError: they cannot be downloaded, or are not what was expected; nothing is kept then.
    """
    from safetensors.torch import save_file

    target = fetched_path(name)
    source_pin = target.with_suffix(".source.sha256")
    if sha256 is None and source_pin.exists():
        sha256 = source_pin.read_text().strip()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".tmp-") as temporary:
            downloaded = Path(temporary) / "download"
            _download(url, downloaded)
            found = sha256_of(downloaded)
            if sha256 not in (None, found):
                raise WeightsError(f"{url} has sha256 {found}, {sha256} wanted; nothing was kept")
            converted = Path(temporary) / "converted"
            state = load_state_dict(downloaded)
            save_file({key: value.contiguous() for key, value in state.items()}, converted)
            _place(converted, target)
            _write(target.with_suffix(".sha256"), sha256_of(target))
            _write(source_pin, found)
    except OSError as error:
        raise WeightsError(f"cannot fetch {url} to {target}: {error}") from error
    return target


def _download(url: str, path: Path) -> None:
    try:
        with urlopen(url, timeout=TIMEOUT_S) as response, path.open("wb") as file:  # noqa: S310 - the registry's URLs
            wanted = response.headers.get("Content-Length")
            while block := response.read(BLOCK_BYTES):
                file.write(block)
    except URLError as error:
        raise WeightsError(f"cannot fetch {url}: {error.reason if hasattr(error, 'reason') else error}") from error
    if wanted is not None and path.stat().st_size != int(wanted):
        raise WeightsError(f"{url} ended after {path.stat().st_size} of {wanted} bytes; fetch it again")


def _place(made: Path, target: Path) -> None:
    made.chmod(0o600)
    with made.open("rb") as file:
        os.fsync(file.fileno())
    made.replace(target)


def _write(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".tmp-", delete=False) as file:
        file.write(text + "\n")
    try:
        _place(Path(file.name), path)
    except OSError:
        with suppress(OSError):
            Path(file.name).unlink()
        raise
