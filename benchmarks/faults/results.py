"""The figures of the trials: one document, and a page made of it. A trial that is run again replaces its own."""

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from benchmarks.report import FOLDER, machine

REPORTS = {
    "faults": (
        "What faults do",
        "Seeded trials of killed processes, failing disks, damaged files and bad photos. Of a figure that must be 0 it "
        "is said so. Short forms of all of them are part of the test suite (`tests/integration/test_faults.py` and "
        "beside it).",
    ),
    "corrections": (
        "What becomes of corrections",
        "Seeded trials of what people said of faces: after clustering again, other models, moved photos and "
        "compaction, and when those who say it are killed. Of a figure that must be 0 it is said so. Short forms "
        "are part of the test suite (`tests/integration/test_corrections.py`, `tests/property/test_ledger.py`).",
    ),
}
"""Titles and introductions of pages of trials."""


def keep(name: str, what: str, command: str, figures: dict[str, Any], report: str = "faults") -> None:
    """Store the figures of a trial in `reports/<report>.json`, and write `reports/<report>.md` anew.

    Args:
        name: of the trial.
        what: was done, with the seed.
        command: does it again.
        figures: by what they tell.
        report: one of `REPORTS`.
    """
    file = FOLDER / f"{report}.json"
    document = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"trials": {}}
    document["trials"][name] = {"what": what, "command": command, "figures": figures, "machine": _machine()}
    document["trials"] = dict(sorted(document["trials"].items()))
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (FOLDER / f"{report}.md").write_text(page(document, report), encoding="utf-8")
    print(json.dumps(figures, indent=1))


def command_of(package: str) -> str:
    """Return the command that runs this trial again, without folders of this machine."""
    words = [word if not word.startswith("/") else Path(word).name.upper() for word in sys.argv[1:]]
    if "--scratch" in words:
        place = words.index("--scratch")
        del words[place : place + 2]
    return f"python -m benchmarks.{package} {' '.join(word for word in words if word)}"


def page(document: dict[str, Any], report: str = "faults") -> str:
    """Return the page of a document."""
    title, introduction = REPORTS[report]
    lines = [f"# {title}", "", introduction, ""]
    for name, trial in document["trials"].items():
        lines += [
            f"## {name}",
            "",
            trial["what"],
            "",
            f"    {trial['command']}",
            "",
            "| figure | value |",
            "| --- | --- |",
        ]
        lines += [f"| {figure} | {_shown(value)} |" for figure, value in trial["figures"].items()]
        lines += ["", ", ".join(f"{key} {value}" for key, value in trial["machine"].items()), ""]
    return "\n".join(lines)


def _machine() -> dict[str, Any]:
    about = machine()
    chosen = ("processor", "cores", "python", "faceindex", "faiss-gpu", "pillow", "pyarrow")
    return {**{name: about[name] for name in chosen}, "dask": _dask(), "system": platform.release(), "load": _load()}


def _dask() -> str:
    import dask

    return str(dask.__version__)


def _load() -> float:
    return round(os.getloadavg()[0], 2)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{count:,} {name}" for name, count in value.items())
    return str(value)
