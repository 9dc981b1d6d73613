"""Run by CI from an empty folder against the built wheel: is everything in it that a user needs, and nothing else?"""

import subprocess
import sys
from pathlib import Path

SITE = Path(sys.argv[1])


def run(*arguments: str) -> str:
    command = [sys.executable, "-P", "-m", "faceindex.cli.main", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    import faceindex
    from faceindex.evaluation.thresholds import load_table

    if not Path(faceindex.__file__).is_relative_to(SITE):
        sys.exit(f"the wheel is not what was imported: {faceindex.__file__}")
    if faceindex.__version__ not in run("--version"):
        sys.exit("--version does not print the version")
    if "search" not in run("--help"):
        sys.exit("--help does not list search")
    if "dlib-resnet29" not in run("models", "list"):
        sys.exit("models list does not list the default model")
    load_table("dlib-resnet29")
    for name in ("jobs", "schemas", "tests", "benchmarks"):
        if (SITE / name).exists():
            sys.exit(f"the wheel installs a top-level {name}")
    print(f"wheel of faceindex {faceindex.__version__}: ok")  # noqa: T201


if __name__ == "__main__":
    main()
