"""Where and with what a measurement was made, and how it is written down."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faceindex

PACKAGES = ("faceindex", "torch", "openvino", "facenet-pytorch", "faiss-gpu", "numpy", "pillow", "pyarrow")
FOLDER = Path(__file__).parent / "reports"
BUSY = 0.1
"""Share of the processor taken by others from which speeds mean nothing; the naive loop suffers most of all."""


def machine() -> dict[str, Any]:
    """Return processor, cores, load and versions."""
    model = platform.processor() or platform.machine()
    flags: set[str] = set()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = dict(line.split(":", 1) for line in cpuinfo.read_text().split("\n\n")[0].splitlines() if ":" in line)
        fields = {name.strip(): value.strip() for name, value in lines.items()}
        model, flags = fields.get("model name", model), set(fields.get("flags", "").split())
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "amx_bf16": "amx_bf16" in flags,
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def publish(name: str, title: str, recipe: str, rows: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """Print a report and write it to `reports/<name>.md` and `.json`.

    Args:
        name: of the files.
        title: heading.
        recipe: data, seed and method, in a sentence or two.
        rows: the table, with the same keys in each row.
        about: what `machine` returned before the measurement.
    """
    about = {**about, "cpu_used_by_others": used_by_others()}
    columns = list(rows[0])
    lines = [f"# {title}", "", recipe, "", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_shown(row[column]) for column in columns) + " |" for row in rows]
    lines += ["", ", ".join(f"{key} {value}" for key, value in about.items()), ""]
    text = "\n".join(lines)
    print(text)
    if about["cpu_used_by_others"] > BUSY:
        print(f"other processes took {about['cpu_used_by_others']:.0%} of the processor: quote no speed from this")
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.md").write_text(text, encoding="utf-8")
    document = {"title": title, "recipe": recipe, "machine": about, "rows": rows}
    (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _cpu_seconds() -> tuple[float, float, float]:
    """Return seconds of all cores together since the system started: all, busy, and those of ours and our children."""
    # proc(5): user, nice, system, idle, iowait, irq, softirq, steal; guest time is part of user time.
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    seconds = [field / os.sysconf("SC_CLK_TCK") for field in ticks]
    return sum(seconds), sum(seconds) - seconds[3] - seconds[4], sum(os.times()[:4])


_AT_START = _cpu_seconds()


def used_by_others() -> float:
    """Return the share of all cores' time that other processes took since this module was imported."""
    total, busy, ours = (now - then for now, then in zip(_cpu_seconds(), _AT_START, strict=True))
    return max(0.0, round((busy - ours) / max(total, 1e-9), 2))


def _version(package: str) -> str:
    try:
        return version(package)
    except ImportError:
        # Run from a checkout that was not installed.
        return faceindex.__version__ if package == "faceindex" else "-"


def _shown(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
