"""Erases a person: out of every answer first, then out of every file, then proof that nothing is left.

What is to go is written down before anything goes, and each step can be done again: killed anywhere, the same command
finishes. Files that are shared with others are written anew without the person, and all older generations go at once.
"""

from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES, ids_array, l2_normalize
from faceindex.catalog import generations, layout
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.erased import Erased, Erasure
from faceindex.catalog.files import Files
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import open_view, read_tombstones, write_tombstones
from faceindex.catalog.missing import open_missing
from faceindex.catalog.parquet import read_table
from faceindex.catalog.traces import Search, search_traces
from faceindex.catalog.upkeep import collect
from faceindex.decisions.calibration import PEOPLE, Calibration
from faceindex.errors import CatalogError, NothingFoundError
from faceindex.identities.forgetting import forgotten, former_names
from faceindex.identities.ledger import Ledger
from faceindex.identities.opening import clusters_of
from faceindex.identities.people import PeopleOf
from faceindex.identities.selection import select_person
from faceindex.pipeline.erased_files import published, without_thumbnails
from faceindex.pipeline.plans import unfinished_plans
from faceindex.tables import ID, from_float16_column

PICTURE_END = 64
"""Bytes of the end of a face's picture by which it is found; the beginnings of JPEGs are all alike."""


@dataclass(frozen=True, slots=True)
class Erasing:
    """What an erasure takes away."""

    person: str
    faces: int
    photos: int
    """That show any of them; they stay, as do their rows."""
    events: int
    """Things said that mention the person or a face of that person."""
    unnamed: int
    """Faces without a name in clusters with them, which stay."""
    batches: int
    """Data files that hold the faces."""
    backups: int
    """Copies of the ledger, which all go."""
    generations: int
    """Generations that mention them."""


@dataclass(frozen=True, slots=True)
class Gone:
    """What was done, and the proof."""

    person: str
    faces: int
    photos: int
    events: int
    generation: int
    removed_files: int
    proof: Search
    in_paths: int
    """Photos whose paths hold the name; photos are not touched."""


def planned(catalog: Catalog, served: Generation, person: str) -> tuple[Erasure, Erasing]:
    """Return what is to go, and how much that is; changes nothing.

    Raises:
        NothingFoundError: nobody is called so.
    """
    people = PeopleOf(catalog, served).now()
    name = select_person(person, people)
    names = former_names(people.state, name)
    places = people.faces_of(name)
    live = {bytes(face) for face in people.rows.ids(np.array(places, np.int64))}
    spoken = {face for face, its in people.state.names.items() if its == name}
    faces = live | spoken
    rows = people.rows.take(np.array(places, np.int64))
    photos = set(rows["photo_id"].to_pylist()) | {people.state.refs[face].photo_id for face in spoken}
    said = forgotten(people.state.done, faces, names)
    clusters = clusters_of(catalog, served, people)
    mine = set(places)
    beside = [set(members) - people.names.keys() for members in clusters.values() if mine & set(members)]
    holding = list(_batches_with(catalog.files, served, faces))
    erasure = Erasure(
        name,
        names,
        tuple(sorted(faces)),
        tuple(sorted(photos)),
        tuple(
            sorted(
                {
                    *chain.from_iterable(_traces(catalog.files, served, batch, faces) for batch in holding),
                    *_means(catalog, served, names),
                }
            )
        ),
    )
    counted = Erasing(
        name,
        len(faces),
        len(photos),
        sum(one != other for one, other in zip(people.state.done, said, strict=True)),
        sum(map(len, beside)),
        len(holding),
        len(Ledger(catalog.files).backups()),
        len(generations.numbers(catalog.files)),
    )
    return erasure, counted


def erase_person(catalog: Catalog, person: str) -> Gone:
    """Erase a person, and whom an erasure that was stopped was about first; for the holder of the writer lock.

    Raises:
        NothingFoundError: nobody is called so.
        CatalogError: a run waits to be finished, whose files may hold the faces too; or something is still found.
    """
    begun = Erasure.read(catalog.files)
    if begun is not None:
        gone = _erase(catalog, begun)
        if person.removeprefix("person:") in begun.names:
            return gone
    served = require_served(catalog)
    if next(unfinished_plans(catalog.files, served), None) is not None:
        raise CatalogError(
            f"a run in {catalog.root} was stopped, and its files may hold the same faces; finish it with the same "
            "`faceindex index` command, then erase again"
        )
    erasure, _ = planned(catalog, served, person)
    erasure.write(catalog.files)
    return _erase(catalog, erasure)


def _erase(catalog: Catalog, erasure: Erasure) -> Gone:
    files = catalog.files
    Erased.read(files).add(files, erasure.faces)
    served = _out_of_answers(files, require_served(catalog), erasure)
    ledger = Ledger(files)
    events = ledger.rewrite(lambda said: forgotten(said, set(erasure.faces), erasure.names))
    served = published(catalog, without_thumbnails(files, served), erasure)
    for copy in ledger.backups():
        copy.unlink(missing_ok=True)
    ledger.backup(served.number)
    removed = collect(files, keep=1, grace_s=0.0)
    proof, in_paths = _proof(files, served, erasure)
    if proof.hits:
        raise CatalogError(
            f"something of {erasure.person} is still in {', '.join(proof.hits[:3])} ({len(proof.hits)} files); run the "
            "same command again"
        )
    files.delete(layout.ERASING)
    counts = (len(erasure.faces), len(erasure.photos), events)
    return Gone(erasure.person, *counts, served.number, len(removed), proof, in_paths)


def require_served(catalog: Catalog) -> Generation:
    """Return the served generation.

    Raises:
        NothingFoundError: there is none.
    """
    served = catalog.current()
    if served is None:
        raise NothingFoundError(f"nothing is indexed in {catalog.root} yet")
    return served


def _out_of_answers(files: Files, served: Generation, erasure: Erasure) -> Generation:
    """Publish the same generation with the faces marked dead, which takes no time, unless they are."""
    dead = read_tombstones(files, served)
    ids = ids_array(list(erasure.faces))
    fresh = ids[~np.isin(ids.view(f"S{ID_BYTES}"), dead.view(f"S{ID_BYTES}"))]
    if not len(fresh):
        return served
    number = served.number + 1
    marked = replace(
        served,
        number=number,
        previous=served.number,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        tombstones=write_tombstones(files, number, np.concatenate([dead, fresh])),
    )
    generations.publish(files, marked)
    return marked


def _batches_with(files: Files, served: Generation, faces: Collection[bytes]) -> Iterator[str]:
    wanted = pa.array(sorted(faces), ID)
    for batch, entries in sorted(served.batches.items()):
        if pc.any(pc.is_in(read_table(files, entries.faces, ["face_id"])["face_id"], value_set=wanted)).as_py():
            yield batch


def _traces(files: Files, served: Generation, batch: str, faces: Collection[bytes]) -> Iterator[bytes]:
    """Yield embeddings of faces, as they are stored and as programs hold them, and the ends of their pictures."""
    wanted = pa.array(sorted(faces), ID)
    entries = served.batches[batch]
    table = read_table(files, entries.faces, ["face_id", "embedding"])
    halves = from_float16_column(table.filter(pc.is_in(table["face_id"], value_set=wanted))["embedding"])
    for half in halves:
        yield half.tobytes()
        yield half.astype(np.float32).tobytes()
    for single in l2_normalize(halves.astype(np.float32)) if len(halves) else ():
        yield single.tobytes()
    if entries.crops:
        crops = read_table(files, entries.crops)
        shown = crops.filter(pc.is_in(crops["face_id"], value_set=wanted))["jpeg"].to_pylist()
        yield from (picture[-PICTURE_END:] for picture in shown)


def _means(catalog: Catalog, served: Generation, names: Collection[str]) -> Iterator[bytes]:
    """Yield the mean embedding that decisions know the person by."""
    templates = Calibration.read(catalog.files, served).templates
    for name in names:
        if name in templates.places:
            mean: NDArray[np.float16] = templates.vectors[templates.places[name]]
            yield mean.tobytes()


def _proof(files: Files, served: Generation, erasure: Erasure) -> tuple[Search, int]:
    """Look for the faces in every byte of the catalog, and for the names wherever paths of photos do not stand."""
    ids = [*erasure.faces, *(face.hex().encode() for face in erasure.faces)]
    own = (layout.ERASING, layout.LOCK)
    paths = sorted(path for path in files.paths() if path not in own)
    found = search_traces(files, paths, [*ids, *erasure.traces])
    view = pa.concat_tables([open_view(files, served).select(["path"]), open_missing(files, served).select(["path"])])
    spelled = [name.encode() for name in erasure.names]
    in_paths = sum(any(name in path for name in spelled) for path in view["path"].to_pylist())
    named = [path for path in paths if path.startswith(layout.LEDGER) or path.endswith((".people.arrow", ".json"))]
    if in_paths:
        named = [path for path in named if not path.startswith(f"{layout.RUNS}/")]
    # A short name stands in anything; where names stand by themselves all of them are looked for.
    long = [name for name in spelled if len(name) >= 8]
    escaped = [name.encode("ascii", "backslashreplace") for name in erasure.names if not name.isascii()]
    found.hits += search_traces(files, named, [*long, *(name for name in escaped if len(name) >= 8)]).hits
    found.hits += _with_names(files, served, set(erasure.names))
    return found, in_paths


def _with_names(files: Files, served: Generation, names: Set[str]) -> Iterator[str]:
    """Yield the files that have any of some names in a place of names."""
    if any(event.person in names or event.to in names for event in Ledger(files).events()):
        yield layout.LEDGER
    if not names.isdisjoint(Calibration.read(files, served).templates.names):
        yield served.calibration[PEOPLE].path
    for entries in served.batches.values():
        if names & set(read_table(files, entries.photos, ["person"])["person"].unique().to_pylist()):
            yield entries.photos.path
