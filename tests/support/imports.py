"""Catalogs of imported embeddings with several batches, shards and dead faces, as nights of imports leave them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.config import Settings
from faceindex.pipeline.importing import Imported, import_vectors
from faceindex.pipeline.plans import Plan, new_run, write_plan
from faceindex.pipeline.publish import publish_plan
from faceindex.pipeline.report import RunReport
from faceindex.tables import IMPORTED
from tests.support.people import synthetic_people

MODEL = "my-model"
INDEXED = "IVF4,SQ8;nprobe=4;rerank=10"
VECTORS, PEOPLE = synthetic_people([5] * 60, seed=9)
IDS = np.array([f"face {row}" for row in range(len(VECTORS))])
NAMES = np.array([f"person {person}" if person % 2 else "" for person in PEOPLE])


def import_rows(root: Path | str, rows: NDArray[np.int64], file: Path, vectors: NDArray[np.float32]) -> Imported:
    """Import some of the synthetic faces."""
    np.savez(file, vectors=vectors[rows], ids=IDS[rows], people=NAMES[rows])
    return import_vectors(str(root), str(file), MODEL)


def forget(catalog: Catalog, names: Sequence[str]) -> Generation:
    """Publish a generation without some imported faces."""
    served = catalog.current()
    assert served
    plan = Plan(new_run(), served.settings_digest, (), tuple(IMPORTED + name.encode() for name in names))
    with catalog.lock("forget"):
        write_plan(catalog.files, plan)
        return publish_plan(catalog, served, plan, {}, RunReport())


def make_imported(root: Path, index: str) -> Catalog:
    """Return a catalog of four imports, the last of which replaces faces of the first, and a deletion."""
    catalog = Catalog.create(str(root), Settings(embedder=MODEL, index=index, removal_grace_days=0))
    file = root.parent / f"{root.name}.npz"
    rows = np.arange(len(VECTORS))
    for part in (rows[:200], rows[200:240], rows[240:285]):
        import_rows(root, part, file, VECTORS)
    other = np.roll(VECTORS, 5, axis=0)
    import_rows(root, np.concatenate([rows[:10], rows[285:]]), file, other)
    forget(catalog, IDS[100:120].tolist())
    return catalog
