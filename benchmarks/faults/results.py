"""The figures of the trials: one document, and a page made of it. A trial that is run again replaces its own."""

import json
import os
import platform
from typing import Any

from benchmarks.report import FOLDER, machine

TITLE = "What faults do"
INTRODUCTION = (
    "Seeded trials of killed processes, failing disks, damaged files and bad photos. Of a figure that must be 0 it is "
    "said so. Short forms of all of them are part of the test suite (`tests/integration/test_faults.py` and beside it)."
)


def keep(name: str, what: str, command: str, figures: dict[str, Any]) -> None:
    """Store the figures of a trial in `reports/faults.json`, and write `reports/faults.md` anew.

    Args:
        name: of the trial.
        what: was done, with the seed.
        command: does it again.
        figures: by what they tell.
    """
    file = FOLDER / "faults.json"
    document = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"trials": {}}
    document["trials"][name] = {"what": what, "command": command, "figures": figures, "machine": _machine()}
    document["trials"] = dict(sorted(document["trials"].items()))
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (FOLDER / "faults.md").write_text(page(document), encoding="utf-8")
    print(json.dumps(figures, indent=1))


def page(document: dict[str, Any]) -> str:
    """Return the page of a document."""
    lines = [f"# {TITLE}", "", INTRODUCTION, ""]
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
