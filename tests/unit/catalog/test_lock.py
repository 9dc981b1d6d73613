import os
import subprocess
import sys
from pathlib import Path

import pytest

from faceindex.catalog.files import open_files
from faceindex.catalog.lock import writer_lock
from faceindex.errors import CatalogError, LockedError

HOLDER = """
import sys
from faceindex.catalog.files import open_files
from faceindex.catalog.lock import writer_lock

with writer_lock(open_files(sys.argv[1]), "index /photos", lease_s=5):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(root: str) -> subprocess.Popen[str]:
    """Start a process that holds the lock until its standard input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_only_one_writer_holds_the_lock_and_the_other_is_told_who(root: str) -> None:
    files = open_files(root)
    files.make_root()

    with writer_lock(files, "index /photos", lease_s=5):
        with pytest.raises(LockedError) as caught, writer_lock(open_files(root), "compact"):
            pass
        assert f"is being written by `index /photos` (process {os.getpid()} on" in str(caught.value)
        assert caught.value.exit_code == 75

    with writer_lock(files, "compact"):
        pass


def test_the_lock_is_free_again_after_an_error(root: str) -> None:
    files = open_files(root)
    files.make_root()

    with pytest.raises(OSError, match="of the caller"), writer_lock(files, "index"):
        raise OSError("of the caller")
    with writer_lock(files, "index"):
        pass


@pytest.mark.parametrize("protocol", ["", "local://"])
def test_another_process_is_named_while_it_runs(tmp_path: Path, protocol: str) -> None:
    root = f"{protocol}{tmp_path}"
    with hold(root) as process:
        with (
            pytest.raises(LockedError, match=f"process {process.pid} on .*, since 20"),
            writer_lock(open_files(root), "x"),
        ):
            pass
        process.communicate()
    with writer_lock(open_files(root), "x"):
        pass


def test_a_killed_process_leaves_a_local_folder_unlocked(tmp_path: Path) -> None:
    with hold(str(tmp_path)) as process:
        process.kill()
        process.wait()
        with writer_lock(open_files(str(tmp_path)), "index"):
            pass


def test_a_catalog_folder_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with (
        pytest.raises(CatalogError, match=r"cannot lock .*/none/lock: No such file or directory"),
        writer_lock(open_files(str(tmp_path / "none")), "index"),
    ):
        pass
