"""Places a catalog can be; what holds for one must hold for all."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(params=["path", "file", "local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A root that does not exist yet: a local folder by path and by URL, and two object stores of fsspec."""
    folder = tmp_path / "my catalog"
    if request.param != "memory":
        yield {"path": f"{folder}", "file": f"file://{folder}", "local": f"local://{folder}"}[request.param]
        return
    import fsspec

    yield f"memory://{tmp_path.name}/catalog"
    store = fsspec.filesystem("memory", use_listings_cache=False)
    if store.exists(f"/{tmp_path.name}"):
        store.rm(f"/{tmp_path.name}", recursive=True)
