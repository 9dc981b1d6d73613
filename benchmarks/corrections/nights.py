"""What happens to a catalog after somebody has corrected it: each must leave every decision as it was."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.corrections.answers import checked, differences
from benchmarks.corrections.said import Said
from benchmarks.corrections.talk import Talker, run
from faceindex.errors import ConfigError
from faceindex.identities.clustering import limits_of


@dataclass
class Seen:
    """What was seen of one catalog."""

    said: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    checked: dict[str, int] = field(default_factory=dict)
    embedded: int = 0
    """Photos that were read again."""
    clustered: bool = True
    wrong: list[str] = field(default_factory=list)


def done(*words: object) -> str:
    """Run a command that must not fail, and return what it printed."""
    result = run(*words)
    if result.exit_code not in (0, 3):
        raise SystemExit(f"faceindex {' '.join(map(str, words))}: {result.stderr}")
    return result.stdout


def talked(root: Path, count: int, seed: int) -> tuple[Said, Seen]:
    """Cluster a catalog, and say so many things of its faces, clustering again when half of them are said."""
    done("cluster", "-c", root)
    talker = Talker(root, np.random.default_rng(seed))
    talker.say(count // 2)
    done("cluster", "-c", root)
    talker.say(count - count // 2)
    seen = Seen(len(talker.said.sentences), dict(talker.kinds.most_common()), talker.refused, wrong=talker.wrong)
    return talker.said, seen


def clustered_again(root: Path, said: Said, seen: Seen) -> Seen:
    """Cluster once more, and look at every answer."""
    model = json.loads(done("status", "-c", root, "--json"))["model"]
    try:
        limits_of(model)
    except ConfigError:
        seen.clustered = False
    if seen.clustered:
        done("cluster", "-c", root)
    seen.checked = checked(root, said, clustered=seen.clustered)
    seen.wrong += differences(root, said, clustered=seen.clustered)
    return seen


def after(root: Path, said: Said, embedded: int = 0) -> Seen:
    """Return what is seen of a catalog after something happened to it, for the sake of which photos were read."""
    return clustered_again(root, said, Seen(len(said.sentences), embedded=embedded))


def reembedded(photos: Path, root: Path, other: Path, said: Said, model: Sequence[str]) -> Seen:
    """Index the photos into a new catalog with other networks, and carry over what was said."""
    report = json.loads(done("index", photos, "-c", other, "--workers", 0, "--json", *model))
    file = other.parent / f"{other.name}.jsonl"
    done("people", "export", file, "-c", root)
    done("people", "import", file, "-c", other)
    return after(other, said, report["embedded"])


def moved(photos: Path, root: Path, said: Said) -> Seen:
    """Move all photos into another folder, in folders of other names, and index them there."""
    there = photos.parent / "elsewhere"
    for number, path in enumerate(sorted(photos.rglob("*.*"))):
        target = there / str(number % 7) / f"{number} {path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    shutil.rmtree(photos)
    changes = json.loads(done("index", there, "-c", root, "--workers", 0, "--json"))["changes"]
    return after(root, said, changes["new"] + changes["changed"])


def compacted(root: Path, said: Said) -> Seen:
    """Merge the files of a catalog, and build its index anew."""
    done("compact", "-c", root)
    done("compact", "--rebuild", "-c", root)
    return after(root, said)
