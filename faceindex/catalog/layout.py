"""Where each file of a catalog stands: paths relative to its root, with forward slashes. Knows nothing else."""

SETTINGS = "catalog.toml"
CURRENT = "CURRENT"
LOCK = "lock"
LEDGER = "ledger.sqlite"
LEDGER_BACKUPS = "ledger.sqlite-backups"
TOKENS = "tokens"
AUDIT = "audit.sqlite"

ERASED = "erased.json"
ERASING = "erasing.json"

RUNS = "runs"
GENERATIONS = "generations"
SHARDS = "shards"
PHOTOS = "photos"
FACES = "faces"
CROPS = "crops"

TEMPORARY_PREFIX = ".tmp-"
"""How the names of half-written files begin; they stand beside the place they will be renamed to."""


def photos_path(batch: str) -> str:
    """Return the path of a batch's photo rows, the file that marks the batch done."""
    return f"{PHOTOS}/{batch[:2]}/{batch}.parquet"


def faces_path(batch: str) -> str:
    """Return the path of a batch's faces and embeddings."""
    return f"{FACES}/{batch[:2]}/{batch}.parquet"


def crops_path(batch: str) -> str:
    """Return the path of a batch's face pictures."""
    return f"{CROPS}/{batch[:2]}/{batch}.parquet"


def plan_path(run: str) -> str:
    """Return the path of a run's plan."""
    return f"{RUNS}/{run}/plan.parquet"


def page_path(run: str) -> str:
    """Return the path of a run's report as a page."""
    return f"{RUNS}/{run}/report.html"


def report_path(run: str) -> str:
    """Return the path of a run's report for programs."""
    return f"{RUNS}/{run}/report.json"


def report_page_path(run: str) -> str:
    """Return the path of a run's report for people."""
    return f"{RUNS}/{run}/report.html"


def shard_path(shard: str, name: str) -> str:
    """Return the path of a shard's file: index.faiss, vectors.npy, vectors.xxh3, faces.arrow or manifest.json."""
    return f"{SHARDS}/{shard}/{name}"


def generation_path(number: int) -> str:
    """Return the path of a generation's manifest."""
    return f"{GENERATIONS}/{number:06d}.json"


def view_path(number: int) -> str:
    """Return the path of a generation's table of live photos."""
    return f"{GENERATIONS}/{number:06d}.photos.arrow"


def tombstones_path(number: int) -> str:
    """Return the path of the faces that a generation's shards hold and its answers leave out."""
    return f"{GENERATIONS}/{number:06d}.tombstones.npy"


def clusters_path(number: int) -> str:
    """Return the path of the faces of a generation that were clustered."""
    return f"{GENERATIONS}/{number:06d}.clusters.arrow"


def missing_path(number: int) -> str:
    """Return the path of the photos that are gone and may come back."""
    return f"{GENERATIONS}/{number:06d}.missing.arrow"


def links_path(number: int) -> str:
    """Return the path of what is likely of the faces of different clusters."""
    return f"{GENERATIONS}/{number:06d}.links.arrow"


def calibration_path(number: int, name: str) -> str:
    """Return the path of a part of a generation's calibration: thresholds.json, cohort.arrow or people.arrow."""
    return f"{GENERATIONS}/{number:06d}.{name}"


def generation_number(path: str) -> int | None:
    """Return which generation a path under `generations/` belongs to; None for any other file."""
    folder, _, name = path.rpartition("/")
    number = name.partition(".")[0]
    return int(number) if folder == GENERATIONS and number.isascii() and number.isdigit() else None


def is_temporary(path: str) -> bool:
    """Return whether a path is a half-written file of a running or killed process."""
    return path.rpartition("/")[2].startswith(TEMPORARY_PREFIX)
