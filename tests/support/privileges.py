"""Being a user whom permissions stop, also where the tests run as the superuser."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def without_privileges() -> Iterator[Path]:
    """Give a folder to work in as a user whom permissions stop; the superuser turns into nobody for a while."""
    if os.geteuid() != 0:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        try:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        except OSError:
            pytest.skip("the superuser cannot become another user here, and permissions do not stop it")
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)
