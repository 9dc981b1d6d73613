"""Every exception of the project, and the exit code each one means.

    FaceIndexError                    1  the run is wrong and stops
    ├── ConfigError (ValueError)      2  a setting, option or argument cannot be used
    ├── ShapeError (ValueError)       1  an array has the wrong shape or dtype
    ├── ModelMismatchError            1  embeddings of two models were about to meet
    ├── WeightsError                  1  weights are missing, damaged or cannot be fetched
    ├── CatalogError                  1  not a catalog, or it cannot be read or written
    │   ├── LockedError              75  another process is writing this catalog
    │   ├── DamagedError              5  a file differs from what the generation recorded
    │   └── RefusedError              1  an index loses too much to be published; the one before stays
    ├── NothingFoundError             4  no face, no match, nothing to answer with
    ├── MissingExtraError (ImportError) 1  an optional dependency is not installed
    └── InterruptedRunError         130  SIGINT or SIGTERM (143); the run can be resumed

    ItemError                            one photo failed; caught once, in `pipeline/stages.py`

Messages are one line: what was wanted, what came, what to do next. This module imports nothing of ours.
"""


class FaceIndexError(Exception):
    """The run cannot go on; the message is meant for the user."""

    exit_code = 1


class ConfigError(FaceIndexError, ValueError):
    """A setting, option or argument cannot be used."""

    exit_code = 2


class ShapeError(FaceIndexError, ValueError):
    """An array has the wrong shape or dtype."""


class ModelMismatchError(FaceIndexError):
    """Embeddings of two different models were about to be compared or mixed."""


class WeightsError(FaceIndexError):
    """Model weights are missing, damaged or could not be fetched."""


class CatalogError(FaceIndexError):
    """There is no catalog here, or it cannot be read or written."""


class LockedError(CatalogError):
    """Another process holds the catalog's writer lock."""

    exit_code = 75


class DamagedError(CatalogError):
    """A file of the catalog is not what its generation recorded; the message names it."""

    exit_code = 5


class RefusedError(CatalogError):
    """A generation was not published: its index loses too much. The one before is still served."""


class NothingFoundError(FaceIndexError):
    """There was nothing to answer with: no face in the picture, or no match."""

    exit_code = 4


class MissingExtraError(FaceIndexError, ImportError):
    """An optional dependency is not installed; the message says which extra brings it."""


class InterruptedRunError(FaceIndexError):
    """A signal stopped the run between batches; the same command resumes it."""

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ItemError(Exception):
    """One photo could not be processed; the run goes on.

    Args:
        state: a `types.PhotoState` value other than ok and no_face.
        detail: one line saying what was wrong.
    """

    def __init__(self, state: str, detail: str) -> None:
        super().__init__(f"{state}: {detail}")
        self.state = state
        self.detail = detail

    def __reduce__(self) -> tuple[type["ItemError"], tuple[str, str]]:
        return type(self), (self.state, self.detail)
