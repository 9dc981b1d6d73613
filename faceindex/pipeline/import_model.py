"""Whose embeddings an imported file holds: a model of `faceindex models list`, or one that only its makers have."""

import re
from difflib import get_close_matches

from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.config import Settings
from faceindex.errors import ConfigError, ModelMismatchError
from faceindex.faces.loading import embedder_id, settled_embedder
from faceindex.faces.models import MODELS, ONNX, find
from faceindex.types import ModelId

NAME = r"[A-Za-z0-9][\w.+-]*(@[\w.+-]+)?"

MISSPELT = 0.8
"""A name as alike a known one as this is taken for a slip of the keyboard; `difflib` gives 1 for the same."""


def settings_for(root: str, catalog: Catalog | None, model: str | None) -> Settings:
    """Return the settings of a catalog, or those of one to be made for a model's vectors.

    Args:
        root: of the catalog.
        catalog: None when it has to be made.
        model: the name that a user or the file gives, perhaps with a digest; None for none.

    Raises:
        ConfigError: nobody says whose vectors they are, or it is no name of a model.
        ModelMismatchError: the catalog holds another model's.
    """
    if catalog is None and model is None:
        raise ConfigError(
            f"{root} is no catalog yet; say with --model which model made the vectors: a name of `faceindex models "
            f"list`, onnx:FILE, or a name of your own for a model that faceindex does not have"
        )
    settings = catalog.settings if catalog else Settings(embedder=_settled(str(model)))
    if model is not None and _settled(model) != settings.embedder:
        raise ModelMismatchError(
            f"{root} holds embeddings of {settings.embedder}, {model} asked for; import into another catalog with -c"
        )
    return settings


def model_for(settings: Settings, served: Generation | None, *told: str | None) -> tuple[ModelId, int | None]:
    """Return the id of a catalog's model and how many numbers its vectors have; None for any.

    Args:
        settings: of the catalog.
        served: its generation, if it has one.
        told: names that a user or the file gives, perhaps with a digest.
    """
    if is_ours(settings.embedder):
        model = embedder_id(settings.embedder, mirror=settings.mirror, weights=settings.weights or None)
        dimension = served.dimension if served else find(settings.embedder, "embedder").dimension
        if dimension is None:
            raise ConfigError(
                f"{settings.embedder} does not say how many numbers its vectors have; index a photo first"
            )
        return model, dimension
    if served:
        return served.model, served.dimension
    digested = (name for name in told if name and "@" in name)
    return ModelId(next(digested, settings.embedder)), None


def is_ours(name: str) -> bool:
    """Return whether faceindex can make embeddings of this model itself."""
    return name.startswith(ONNX) or name.partition("@")[0] in _embedders()


def _settled(name: str) -> str:
    """Return the name that a catalog keeps; without a digest but for ONNX files, whose name holds their own."""
    if name.startswith(ONNX):
        return settled_embedder(name)
    if not re.fullmatch(NAME, name, re.ASCII):
        raise ConfigError(f"a model is a name or name@digest of letters, digits and ._+-, got {name!r}")
    name = name.partition("@")[0]
    if is_ours(name) or get_close_matches(name, _embedders(), n=1, cutoff=MISSPELT):
        return settled_embedder(name)  # which says what was meant
    return name


def _embedders() -> list[str]:
    return [model.name for model in MODELS.values() if model.kind == "embedder"]
