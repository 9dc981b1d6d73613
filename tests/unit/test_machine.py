"""Users whom the system does not know, as containers have them, can do what others can."""

import os
import subprocess
import sys

import pytest

from tests.support.archives import ROOT

NOBODY = 54321
PROBE = """
import os
os.setuid({uid})
from faceindex.faces.cache import cache_folder
from faceindex.machine import user_name
print(user_name(), cache_folder())
try:
    cache_folder().mkdir(parents=True)
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_a_user_without_a_name_and_a_home_is_told_by_number_and_keeps_no_cache() -> None:
    script = PROBE.format(uid=NOBODY)
    done = subprocess.run(
        [sys.executable, "-c", "import faceindex.faces.cache, platformdirs.unix, faceindex.machine\n" + script],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.stdout.split("\n") == [f"user {NOBODY} /dev/null/faceindex", "NotADirectoryError", ""], done.stderr
