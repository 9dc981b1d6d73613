"""What a catalog answers, held against what was said: in files, lists, clusters, searches and questions."""

import json
import tempfile
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

import faceindex
from benchmarks.corrections.said import Said, World
from benchmarks.corrections.talk import exported, run
from faceindex.tables import from_float16_column

MORE = 100
"""Faces nobody spoke of that are searched for too."""


def differences(root: Path, said: Said, *, clustered: bool = True) -> list[str]:
    """Return every decision that a catalog has lost or contradicts.

    Args:
        root: of the catalog, which was clustered since all of it was said.
        said: what was acknowledged.
        clustered: whether there are clusters.
    """
    world = said.world()
    rows = {row["face_id"]: row for row in exported(root)}
    found = [*_history(root, said), *_names(root, world, rows), *_searches(root, said, world, rows)]
    if clustered:
        found += [*_clusters(world, rows), *_questions(root, world)]
    return found


def checked(root: Path, said: Said, *, clustered: bool = True) -> dict[str, int]:
    """Return how many decisions of each kind were looked at."""
    world = said.world()
    live = {row["face_id"] for row in exported(root)}
    names = {face: name for face, name in world.names().items() if face in live}
    counts = {
        "names of faces": len(names),
        "faces and a person they are not": sum(face in live for face, _ in world.not_who),
        "faces left out": len(world.out & live),
    }
    if clustered:
        counts["pairs that are two people"] = sum(
            {one, other} <= live and not {one, other} <= names.keys() for one, other in world.apart()
        )
        counts["pairs that are one person"] = sum(len(pair) for pair in (_together(world, live)))
    return counts


def _history(root: Path, said: Said) -> list[str]:
    lines = run("people", "export", "-c", root).stdout.splitlines()
    kept = [json.loads(line) for line in lines]
    return [] if kept == said.sentences else [f"{len(said.sentences)} sentences were acknowledged, {len(kept)} kept"]


def _names(root: Path, world: World, rows: dict[str, dict[str, Any]]) -> list[str]:
    said = world.names()
    unclear = world.unclear() - world.who.keys()
    now = {face: row["person"] for face, row in rows.items() if row["person"] is not None}
    wrong = [
        f"{face} is {now.get(face)!r}, said was {said.get(face)!r}"
        for face in rows
        if now.get(face) != said.get(face) and (face not in unclear or now.get(face) not in (None, *said.values()))
    ]
    listed = json.loads(run("people", "list", "-c", root, "--json").stdout)
    if {row["person"]: row["faces"] for row in listed["people"]} != Counter(now.values()):
        wrong.append("people list has other people or counts")
    if listed["left_out"] != len(world.out & rows.keys()):
        wrong.append(f"people list has {listed['left_out']} faces left out, {len(world.out & rows.keys())} were said")
    for name in sorted(set(now.values())):
        shown = json.loads(run("people", "show", f"person:{name}", "-c", root, "--json").stdout)
        if {face["face_id"] for face in shown["faces"]} != {face for face in now if now[face] == name}:
            wrong.append(f"people show {name!r} shows other faces")
    return wrong


def _searches(root: Path, said: Said, world: World, rows: dict[str, dict[str, Any]]) -> list[str]:
    """Search for the faces that were spoken of, and some others, by their own embeddings."""
    table = faceindex.open(str(root)).faces()
    ids = [face.hex() for face in table["face_id"].to_pylist()]
    spoken = [face for face in said.faces() if face in rows]
    chosen = np.isin(ids, spoken)
    chosen[np.random.default_rng(len(ids)).permutation(len(ids))[:MORE]] = True
    vectors = from_float16_column(table["embedding"])[chosen].astype(np.float32)
    names = {face: row["person"] for face, row in rows.items() if row["person"] is not None}
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "probes.npy"
        np.save(file, vectors)
        printed = run("search", "--vectors", file, "--ndjson", "-k", 20, "-c", root).stdout
    for face, line in zip(np.array(ids)[chosen].tolist(), printed.splitlines(), strict=True):
        [answer] = json.loads(line)["faces"]
        for one in answer["candidates"]:
            if one["person"] != names.get(one["face_id"]):
                wrong.append(f"a search says that {one['face_id']} is {one['person']!r}")
            if one["face_id"] in world.out:
                wrong.append(f"a search finds {one['face_id']}, which was left out")
        if answer["person"] is not None and answer["person"] not in names.values():
            wrong.append(f"a search finds {answer['person']!r}, whom nobody named")
        if answer["decision"] == "identified" and answer["person"] != names.get(face, answer["person"]):
            wrong.append(f"a search with {face} finds {answer['person']!r}, said was {names[face]!r}")
        if (face, answer["person"]) in world.not_who and face not in world.out:
            wrong.append(f"a search with {face} finds {answer['person']!r}, who it is not")
    return wrong


def _clusters(world: World, rows: dict[str, dict[str, Any]]) -> list[str]:
    cluster = {face: row["cluster"] for face, row in rows.items()}
    names = {face: row["person"] for face, row in rows.items() if row["person"] is not None}
    unclear = world.unclear()
    members: dict[int, list[str]] = {}
    for face, number in cluster.items():
        if number is not None:
            members.setdefault(number, []).append(face)
    wrong = [f"{face} was left out and is in a cluster" for face in world.out if cluster.get(face) is not None]
    for one, other in world.apart():
        named = one in names and other in names
        if cluster.get(one) is not None and cluster[one] == cluster.get(other) and not named:
            wrong.append(f"{one} and {other} were said to be two people and are in one cluster")
    for number, faces in members.items():
        people = {names[face] for face in faces if face in names}
        if len(people) > 1:
            wrong.append(f"cluster {number} holds faces of {sorted(people)}")
        wrong += [
            f"{face} is not {person!r} and in a cluster with that person"
            for face in set(faces) - unclear - names.keys()
            for person in people
            if (face, person) in world.not_who
        ]
        wrong += _mates(faces, world, names, rows)
    for group in _together(world, set(rows)):
        if len({cluster[face] for face in group}) > 1 or cluster[next(iter(group))] is None:
            numbers = Counter(cluster[face] for face in group)
            wrong.append(f"faces as {min(group)} were said to be one person and are in clusters {dict(numbers)}")
    return wrong


def _mates(faces: list[str], world: World, names: dict[str, str], rows: dict[str, dict[str, Any]]) -> list[str]:
    """Return the faces of one photo that are in one cluster though nobody said that they are one person."""
    by_photo: dict[str, list[str]] = {}
    for face in faces:
        by_photo.setdefault(rows[face]["photo"], []).append(face)
    groups = world.groups()
    return [
        f"{one} and {other} are of one photo and in one cluster"
        for mates in by_photo.values()
        for one, other in combinations(mates, 2)
        if not (one in names and names[one] == names.get(other))
        and not any(one in group and other in group for group in groups)
    ]


def _together(world: World, live: set[str]) -> list[set[str]]:
    """Return the groups of faces that must be in one cluster: one person's, and those that were said to be the same."""
    names = world.names()
    found = [
        {face for face, name in names.items() if name == person and face in live} for person in set(names.values())
    ]
    unclear = world.unclear()
    unnamed = [group for group in world.groups() if not group & names.keys() and not group & unclear]
    found += [(group & live) - world.out for group in unnamed]
    return [group for group in found if len(group) > 1]


def _questions(root: Path, world: World) -> list[str]:
    asked = json.loads(run("people", "suggest", "-n", 10_000, "-c", root, "--json").stdout)["suggestions"]
    wrong = []
    for question in asked:
        faces, others = set(question["faces"]), set(question["others"])
        if (faces | others) & world.out:
            wrong.append("a question is about a face that was left out")
        if question["kind"] == "person" and any((face, question["person"]) in world.not_who for face in faces):
            wrong.append(f"whether a face is {question['person']!r} is asked again")
        if question["kind"] == "same" and any(
            world.same.get(frozenset((one, other))) is False for one in faces for other in others
        ):
            wrong.append("whether two faces are the same is asked again")
    return wrong
