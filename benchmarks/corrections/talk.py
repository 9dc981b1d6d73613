"""Somebody who says all kinds of things of the faces of a catalog at random, by the commands of a user."""

import json
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result

from benchmarks.corrections.said import Said
from faceindex.cli.main import cli
from faceindex.errors import ConfigError, NothingFoundError
from faceindex.identities.labelling import Labelling
from faceindex.identities.opening import open_people

NAMES = [
    "Anna",
    "anna",
    "Bea Ötvös",
    "李小龙",
    "'; DROP TABLE events; --",
    "<b>Cy</b>",
    "Dora",
    "Émile",
    "12",
    "Fatima",
]
WEIGHTS = {
    "name": 8,
    "name_cluster": 4,
    "rename": 2,
    "merge": 2,
    "split": 4,
    "split_cluster": 4,
    "same": 4,
    "same_clusters": 3,
    "not_same": 4,
    "reject": 4,
    "ignore": 3,
    "not_a_face": 2,
    "undo": 4,
    "redo": 3,
}
REFUSED = (2, 4)
"""Exit codes of what makes no sense, such as renaming somebody to a name that another has."""
FOCUS = 30
"""Clusters, and faces by themselves, that are spoken of: so few that much is said of each."""


def run(*arguments: object) -> Result:
    """Run a command of a user in this process; raises what is no message to him."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


def exported(root: Path) -> list[dict[str, Any]]:
    """Return every face of a catalog as `faceindex export faces` tells it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "faces.jsonl"
        done = run("export", "faces", file, "-c", root)
        if done.exit_code:
            raise SystemExit(done.stderr)
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@dataclass
class Talker:
    """Says random things of one catalog, and keeps what was acknowledged."""

    root: Path
    generator: np.random.Generator
    said: Said = field(default_factory=Said)
    kinds: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    """Ends that are neither an acknowledgement nor a refusal."""

    def __post_init__(self) -> None:
        clusters: dict[int | None, list[str]] = {}
        for row in exported(self.root):
            clusters.setdefault(row["cluster"], []).append(row["face_id"])
        alone = clusters.pop(None, [])
        chosen = self.generator.permutation(sorted(clusters))[:FOCUS]
        self.faces = sorted(self.generator.permutation(alone)[:FOCUS].tolist())
        self.faces += [face for number in chosen.tolist() for face in clusters[number][:6]]

    def say(self, count: int) -> None:
        """Say things until so many were acknowledged."""
        acts = list(WEIGHTS)
        weights = np.array(list(WEIGHTS.values()), float)
        until = len(self.said.sentences) + count
        while len(self.said.sentences) < until:
            act = str(self.generator.choice(acts, p=weights / weights.sum()))
            words: Callable[[], list[str] | None] = getattr(self, f"_{act}")
            told = words()
            if told is not None:
                self._tell(told)

    def _tell(self, words: list[str]) -> None:
        done = run("people", *words, "-c", self.root, "--json")
        if done.exit_code == 0:
            self._keep(json.loads(done.stdout), words[0])
        elif done.exit_code in REFUSED and done.stderr.count("\n") == 1:
            self.refused += 1
        else:
            self.wrong.append(f"{words}: {done.exit_code} {done.stderr}")

    def _keep(self, event: dict[str, Any], word: str) -> None:
        self.kinds[word] += 1
        if word in ("undo", "redo"):  # what they print is the event that they are about
            [*_, event] = (json.loads(line) for line in run("people", "export", "-c", self.root).stdout.splitlines())
        self.said.sentences.append(event)

    def _some(self, faces: list[str], most: int = 4) -> list[str]:
        count = int(self.generator.integers(1, most + 1))
        return [str(face) for face in self.generator.permutation(faces)[:count]]

    def _person(self) -> str | None:
        people = sorted(set(self.said.world().names().values()))
        return str(self.generator.choice(people)) if people else None

    def _faces_of(self, person: str) -> list[str]:
        return sorted(face for face, name in self.said.world().names().items() if name == person)

    def _cluster(self) -> tuple[str, list[str]] | None:
        """Return what a user sees of a cluster that one of the chosen faces is in now."""
        clusters: dict[int, list[str]] = {}
        for row in exported(self.root):
            clusters.setdefault(row["cluster"], []).append(row["face_id"])
        clusters.pop(None, None)  # type: ignore[call-overload]
        likely = sorted(number for number, faces in clusters.items() if set(faces) & set(self.faces))
        if not likely:
            return None
        number = int(self.generator.choice(likely))
        return f"cluster:{number}", clusters[number]

    def _name(self) -> list[str]:
        return ["name", *self._some(self.faces), str(self.generator.choice(NAMES))]

    def _name_cluster(self) -> list[str] | None:
        cluster = self._cluster()
        return cluster and ["name", cluster[0], str(self.generator.choice(NAMES))]

    def _rename(self) -> list[str] | None:
        person = self._person()
        return person and ["rename", f"person:{person}", str(self.generator.choice(NAMES))]

    def _merge(self) -> list[str] | None:
        one, other = self._person(), self._person()
        return one and ["merge", f"person:{one}", f"person:{other}"]

    def _split(self) -> list[str] | None:
        person = self._person()
        to = ["--to", str(self.generator.choice(NAMES))] if self.generator.random() < 0.5 else []
        return person and ["split", f"person:{person}", *self._some(self._faces_of(person), 3), *to]

    def _split_cluster(self) -> list[str] | None:
        cluster = self._cluster()
        return cluster and ["split", cluster[0], *self._some(cluster[1], 3)]

    def _same(self) -> list[str]:
        return ["merge", *self._some(self.faces, 1), *self._some(self.faces, 1)]

    def _same_clusters(self) -> list[str] | None:
        one, other = self._cluster(), self._cluster()
        return one and other and ["merge", one[0], other[0]]

    def _not_same(self) -> None:
        """Say it as the labelling pages do; there is no command of that name."""
        _, _, people = open_people(str(self.root))
        chosen = self._some(self.faces, 5)
        now = people.now()
        places = [now.rows.with_prefix(face)[0] for face in chosen if len(now.rows.with_prefix(face))]
        try:
            event = Labelling(people, "talker").not_same(places[:1], places[1:])
        except (ConfigError, NothingFoundError):
            self.refused += 1
            return
        self._keep(json.loads(event.to_line()), "not-same")

    def _reject(self) -> list[str] | None:
        person = self._person()
        faces = self._some(self._faces_of(person), 2) if person and self.generator.random() < 0.5 else None
        return person and ["reject", f"person:{person}", *(faces or self._some(self.faces, 2))]

    def _ignore(self) -> list[str]:
        return ["ignore", *self._some(self.faces, 2)]

    def _not_a_face(self) -> list[str]:
        return ["not-a-face", *self._some(self.faces, 2)]

    def _undo(self) -> list[str] | None:
        counting = self.said.counting()
        if not counting:
            return None
        return ["undo"] if self.generator.random() < 0.6 else ["undo", str(self.generator.choice(counting)["event"])]

    def _redo(self) -> list[str] | None:
        counting = {one["event"] for one in self.said.counting()}
        off = [
            one for one in self.said.sentences if one["kind"] not in ("undo", "redo") and one["event"] not in counting
        ]
        return ["redo", str(self.generator.choice(off)["event"])] if off else None
