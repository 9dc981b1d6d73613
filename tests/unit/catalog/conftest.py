"""Places a catalog can be; what holds for one must hold for all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.disk import memory_folder


@pytest.fixture(params=["path", "local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A root that does not exist yet: a local folder, and two object stores of fsspec."""
    if request.param != "memory":
        with memory_folder(tmp_path) as folder:
            yield f"{folder}/my catalog" if request.param == "path" else f"local://{folder}/my catalog"
        return
    import fsspec

    yield f"memory://{tmp_path.name}/catalog"
    store = fsspec.filesystem("memory", use_listings_cache=False)
    if store.exists(f"/{tmp_path.name}"):
        store.rm(f"/{tmp_path.name}", recursive=True)
