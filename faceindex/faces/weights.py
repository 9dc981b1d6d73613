"""Files of weights: where they are, whether they are what they should be, and how they are read.

The only module that fetches, checks or loads weights. Nothing is fetched unless the user asks for it.
"""

import hashlib
import json
import mmap
import os
import re
import tempfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from faceindex.errors import WeightsError
from faceindex.faces.cache import cache_folder

if TYPE_CHECKING:
    import torch

TIMEOUT_S = 60
BLOCK_BYTES = 1 << 20
ONNX_SUFFIX = ".onnx"


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file of weights on this machine."""

    path: Path
    sha256: str
    """What the SHA-256 of the file must be, 64 hex digits."""
    published_sha256: str
    """SHA-256 of the file as its authors publish it: the same on every machine, so it names the model."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits; raises `WeightsError` when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error


def sha256_of_onnx(path: Path) -> str:
    """Return the SHA-256 of an ONNX file; where it keeps tensors in other files, one over all of them.

    Raises:
        WeightsError: one of them cannot be read.
    """
    digest = sha256_of(path)
    parts = [path.parent / name for name in _external_data(path)]
    return hashlib.sha256(" ".join([digest, *map(sha256_of, parts)]).encode()).hexdigest() if parts else digest


def _external_data(path: Path) -> list[str]:
    """Return the names of the files in which an ONNX file keeps tensors, sorted.

    They stand in its `TensorProto.external_data` as pairs of a key, "location", and a value: in protobuf's encoding
    1:"location" 2:"NAME", which tensors do not hold by chance.
    """
    if path.stat().st_size == 0:
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        names = set()
        for match in re.finditer(rb"\x0a\x08location\x12([\x80-\xff]?[\x01-\x7f])", content):
            length = sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(match[1]))
            names.add(content[match.end() : match.end() + length])
    return sorted(os.fsdecode(name) for name in names)


def check_sha256(path: Path, sha256: str) -> None:
    """Raise `WeightsError` unless a file is there and has this SHA-256, by the rule for ONNX files if it is one."""
    if (found := sha256_of_onnx(path)) != sha256:
        raise WeightsError(f"{path} has sha256 {found}, {sha256} wanted; it is damaged or another file: get it again")


def load_state_dict(path: Path, sha256: str | None = None) -> "dict[str, torch.Tensor]":
    """Return the parameters in a safetensors file or a PyTorch file, without running any code the file may hold.

    Args:
        path: the file; read as safetensors when its name ends so, otherwise as what `torch.save` writes.
        sha256: what its SHA-256 must be; None takes any.

    Raises:
        WeightsError: missing, another SHA-256, or no state dict.
    """
    import torch
    from safetensors.torch import load_file

    if sha256 is not None:
        check_sha256(path, sha256)
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:
        # Damaged bytes make torch and pickle raise almost anything; the long advice torch adds is about unsafe loading.
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(f"{path} is not a file of weights: {reason}") from error
    named = isinstance(state, dict) and all(isinstance(name, str) for name in state)
    if not named or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path} holds a {type(state).__name__} that is no state dict; save module.state_dict()")
    return state


def fetched(name: str, url: str) -> WeightsFile | None:
    """Return the weights of a model that were fetched earlier from a URL, unchecked; None when they were not."""
    path = _fetched_path(name, url)
    try:
        noted = json.loads(_note_path(path).read_text())
        return WeightsFile(path, noted["sha256"], noted["published_sha256"]) if path.exists() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def fetch(name: str, url: str, sha256: str | None) -> WeightsFile:
    """Download weights, check them, and keep them: as safetensors, or an ONNX file as it is.

    Where no SHA-256 is known in advance, that of the first download is noted beside the file, and every later one
    must equal it.

    Args:
        name: of the model.
        url: of a PyTorch file that holds a state dict, or of an ONNX file if it ends in .onnx.
        sha256: of what the URL gives; None when it is not known in advance.

    Raises:
        WeightsError: they cannot be downloaded, or are not what was expected; what was there before stays.
    """
    target = _fetched_path(name, url)
    before = fetched(name, url)
    wanted = sha256 or (before.published_sha256 if before else None)
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".tmp-") as folder:
            downloaded, converted, note = (Path(folder) / part for part in ("downloaded", "converted", "note"))
            _download(url, downloaded)
            published = sha256_of(downloaded)
            if wanted not in (None, published):
                hint = "" if sha256 else f"; if its authors have changed it, delete {target} first"
                raise WeightsError(f"{url} has sha256 {published}, {wanted} wanted; nothing was kept{hint}")
            if target.suffix == ONNX_SUFFIX:
                downloaded.rename(converted)
            else:
                _convert(downloaded, url, converted)
            made = WeightsFile(target, sha256_of(converted), published)
            note.write_text(json.dumps({"url": url, "published_sha256": published, "sha256": made.sha256}, indent=2))
            _place(converted, target)
            _place(note, _note_path(target))
    except OSError as error:
        raise WeightsError(f"cannot fetch {url} to {target}: {error}") from error
    return made


def _convert(downloaded: Path, url: str, converted: Path) -> None:
    """Write the state dict in a PyTorch file as safetensors."""
    from safetensors.torch import save_file

    try:
        state = load_state_dict(downloaded)
    except WeightsError as error:
        raise WeightsError(f"{url} gives no PyTorch file with a state dict; nothing was kept") from error
    save_file({key: value.clone().contiguous() for key, value in state.items()}, converted)


def _fetched_path(name: str, url: str) -> Path:
    suffix = ONNX_SUFFIX if url.endswith(ONNX_SUFFIX) else ".safetensors"
    return cache_folder() / "weights" / f"{name}{suffix}"


def _note_path(weights: Path) -> Path:
    """Return where the checksums of fetched weights are noted."""
    return weights.with_suffix(".json")


def _download(url: str, path: Path) -> None:
    try:
        with urlopen(url, timeout=TIMEOUT_S) as response, path.open("wb") as file:  # noqa: S310 - the table's URLs
            announced = response.headers.get("Content-Length")
            while block := response.read(BLOCK_BYTES):
                file.write(block)
    except HTTPError as error:
        error.close()
        raise WeightsError(f"cannot fetch {url}: the server answered {error.code} {error.reason}") from error
    except URLError as error:
        raise WeightsError(f"cannot fetch {url}: {error.reason}") from error
    except HTTPException as error:
        raise WeightsError(f"cannot fetch {url}: the connection broke off; fetch it again") from error
    if announced is not None and path.stat().st_size != int(announced):
        raise WeightsError(f"{url} ended after {path.stat().st_size} of {announced} bytes; fetch it again")


def _place(made: Path, target: Path) -> None:
    made.chmod(0o600)
    with made.open("rb") as file:
        os.fsync(file.fileno())
    made.replace(target)
