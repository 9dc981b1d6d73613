"""Where and with what a measurement was made, and how it is written down."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("faceindex", "torch", "openvino", "facenet-pytorch", "faiss-gpu", "numpy", "pillow", "pyarrow")
FOLDER = Path(__file__).parent / "reports"


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
    columns = list(rows[0])
    lines = [f"# {title}", "", recipe, "", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_shown(row[column]) for column in columns) + " |" for row in rows]
    lines += ["", ", ".join(f"{key} {value}" for key, value in about.items()), ""]
    text = "\n".join(lines)
    print(text)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.md").write_text(text, encoding="utf-8")
    document = {"title": title, "recipe": recipe, "machine": about, "rows": rows}
    (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _version(package: str) -> str:
    try:
        return version(package)
    except ImportError:
        return "-"


def _shown(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
