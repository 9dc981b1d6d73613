"""Generations: manifests of self-consistent views of a catalog, and which of them is served.

A generation is written whole, then `CURRENT` is replaced; a reader sees the old one or the new one. Manifests name
every file with its size and checksum and are never changed. Knows nothing of what the files hold.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from faceindex.catalog import layout
from faceindex.catalog.checksums import JSON_SEAL, digest, seal, unseal
from faceindex.catalog.files import Files
from faceindex.errors import CatalogError, DamagedError
from faceindex.events import tell
from faceindex.types import FileEntry, IndexQuality, IndexRecipe, ModelId

SCHEMA = "faceindex.generation/1"


@dataclass(frozen=True, slots=True)
class BatchFiles:
    """The data files of one batch."""

    photos: FileEntry
    faces: FileEntry
    crops: FileEntry | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """One piece of the index; immutable, shared between generations."""

    shard_id: str
    files: tuple[FileEntry, ...]
    face_count: int
    recipe: IndexRecipe


@dataclass(frozen=True, slots=True)
class Generation:
    """One self-consistent view of a catalog."""

    number: int
    created_at: str
    """UTC, ISO 8601."""
    faceindex: str
    """Version of the program that made it."""
    model: ModelId
    dimension: int
    settings_digest: str
    """Digest of the settings that the data files depend on."""
    photo_counts: Mapping[str, int]
    """Live photos by state."""
    face_count: int
    """Live faces."""
    batches: Mapping[str, BatchFiles]
    """The data files, by batch id."""
    view: FileEntry
    """The table of live photos, `tables.PHOTOS_VIEW`."""
    recipe: IndexRecipe
    shards: tuple[Shard, ...] = ()
    tombstones: FileEntry | None = None
    """Face ids that stand in shards and are no longer live."""
    runs: Mapping[str, tuple[FileEntry, ...]] = field(default_factory=dict)
    """Plan and reports of every run so far, by run id."""
    previous: int | None = None
    quality: IndexQuality | None = None
    """Measured before publishing; None for an exact index."""
    clusters: FileEntry | None = None
    """The faces that were clustered, `tables.CLUSTERS`; None before the first `faceindex cluster`."""
    missing: FileEntry | None = None
    """Photos that are gone and may come back, `tables.MISSING`; None where there are none."""
    links: FileEntry | None = None
    """Which clusters may be one person or two, `tables.LINKS`; made with the clusters."""
    cluster_count: int = 0
    calibration: Mapping[str, FileEntry] = field(default_factory=dict)
    """Files that decisions rest on, by what they hold."""
    threshold: Mapping[str, Any] | None = None
    """What is told of the threshold for the default error rate; None where there is none."""

    def entries(self) -> Iterator[FileEntry]:
        """Yield every file this generation names."""
        for batch in self.batches.values():
            yield batch.photos
            yield batch.faces
            if batch.crops:
                yield batch.crops
        yield self.view
        for shard in self.shards:
            yield from shard.files
        if self.tombstones:
            yield self.tombstones
        for run in self.runs.values():
            yield from run
        yield from (entry for entry in (self.missing, self.clusters, self.links) if entry)
        yield from self.calibration.values()

    def to_bytes(self) -> bytes:
        """Return the manifest, `schemas/generation.v1.json`, sealed against damage."""
        document = {
            "schema": SCHEMA,
            "number": self.number,
            "previous": self.previous,
            "created_at": self.created_at,
            "faceindex": self.faceindex,
            "model": self.model,
            "dimension": self.dimension,
            "settings_digest": self.settings_digest,
            "photo_counts": dict(self.photo_counts),
            "face_count": self.face_count,
            "recipe": asdict(self.recipe),
            "quality": asdict(self.quality) if self.quality else None,
            "view": self.view.to_json(),
            "tombstones": _optional_json(self.tombstones),
            "shards": [
                {
                    "shard_id": shard.shard_id,
                    "face_count": shard.face_count,
                    "recipe": asdict(shard.recipe),
                    "files": [entry.to_json() for entry in shard.files],
                }
                for shard in self.shards
            ],
            "batches": {
                batch_id: {
                    "photos": batch.photos.to_json(),
                    "faces": batch.faces.to_json(),
                    "crops": _optional_json(batch.crops),
                }
                for batch_id, batch in self.batches.items()
            },
            "runs": {run: [entry.to_json() for entry in entries] for run, entries in self.runs.items()},
            "clusters": _optional_json(self.clusters),
            "missing": _optional_json(self.missing),
            "links": _optional_json(self.links),
            "cluster_count": self.cluster_count,
            "calibration": {name: entry.to_json() for name, entry in self.calibration.items()},
            "threshold": self.threshold,
        }
        return seal_json(document)

    @classmethod
    def from_bytes(cls, data: bytes, source: str) -> "Generation":
        """Read a manifest; `source` names it in errors.

        Raises:
            DamagedError: a byte of it differs from what was written.
            CatalogError: it was made by a version of faceindex that this one cannot read.
        """
        document = unseal_json(data, source)
        if document["schema"] != SCHEMA:
            raise CatalogError(f"{source} has schema {document['schema']}, this faceindex reads {SCHEMA}; update it")
        return cls(
            number=document["number"],
            previous=document["previous"],
            created_at=document["created_at"],
            faceindex=document["faceindex"],
            model=ModelId(document["model"]),
            dimension=document["dimension"],
            settings_digest=document["settings_digest"],
            photo_counts=document["photo_counts"],
            face_count=document["face_count"],
            recipe=IndexRecipe(**document["recipe"]),
            quality=IndexQuality(**document["quality"]) if document["quality"] else None,
            view=FileEntry.from_json(document["view"]),
            tombstones=_optional_entry(document["tombstones"]),
            shards=tuple(
                Shard(
                    shard["shard_id"],
                    tuple(FileEntry.from_json(entry) for entry in shard["files"]),
                    shard["face_count"],
                    IndexRecipe(**shard["recipe"]),
                )
                for shard in document["shards"]
            ),
            batches={
                batch_id: BatchFiles(
                    FileEntry.from_json(batch["photos"]),
                    FileEntry.from_json(batch["faces"]),
                    _optional_entry(batch["crops"]),
                )
                for batch_id, batch in document["batches"].items()
            },
            runs={
                run: tuple(FileEntry.from_json(entry) for entry in entries) for run, entries in document["runs"].items()
            },
            # Manifests made before there were clusters and calibrations have none.
            clusters=_optional_entry(document.get("clusters")),
            missing=_optional_entry(document.get("missing")),
            links=_optional_entry(document.get("links")),
            cluster_count=document.get("cluster_count", 0),
            calibration={name: FileEntry.from_json(entry) for name, entry in document.get("calibration", {}).items()},
            threshold=document.get("threshold"),
        )


def publish(files: Files, generation: Generation) -> None:
    """Make a generation the served one. For the holder of the writer lock, once every file it names is written.

    Raises:
        CatalogError: it does not follow the served generation, or the disk refused it; then the old one is served,
            or this one if only the last flush failed.
        DamagedError: which generation is served cannot be told.
    """
    served = current(files)
    previous = served.number if served else None
    if (generation.previous, generation.number) != (previous, (previous or 0) + 1):
        raise CatalogError(
            f"generation {(previous or 0) + 1} after {previous} wanted, got {generation.number} after "
            f"{generation.previous}; another run has published; run the same command again"
        )
    data = generation.to_bytes()
    files.write(layout.generation_path(generation.number), data)
    files.write(layout.CURRENT, _current_line(generation.number, data))
    quality = generation.quality
    tell(
        "published",
        f"generation {generation.number} is served: {generation.face_count:,} faces",
        generation=generation.number,
        photos=dict(generation.photo_counts),
        faces=generation.face_count,
        clusters=generation.cluster_count,
        index=generation.recipe.factory,
        recall_at_10=None if quality is None else quality.recall_at_10,
    )


def current(files: Files) -> Generation | None:
    """Return the served generation; None when nothing was published yet.

    Raises:
        DamagedError: `CURRENT` or the manifest it names is missing or damaged. No other generation is taken instead.
    """
    if not files.exists(layout.CURRENT):
        # A run killed in its first publish leaves generation 1 without CURRENT; any later one had it.
        if any(number > 1 for number in numbers(files)):
            raise _current_damaged(files, "is missing")
        return None
    line = files.read(layout.CURRENT)
    match = re.fullmatch(rb"([1-9][0-9]*) ([0-9a-f]{32})\n", line)
    if not match:
        raise _current_damaged(files, f"holds {line[:60]!r}")
    number, path = int(match[1]), layout.generation_path(int(match[1]))
    if not files.exists(path):
        raise _current_damaged(files, f"names generation {number}, and {path} is missing")
    generation, data = _load(files, number)
    if line != _current_line(number, data):
        raise _current_damaged(files, f"does not hold the checksum of {path}, which is whole")
    return generation


def load(files: Files, number: int) -> Generation:
    """Return a generation by its number, served or not.

    Raises:
        DamagedError: its manifest is missing or damaged.
        CatalogError: it was made by a version of faceindex that this one cannot read.
    """
    return _load(files, number)[0]


def _load(files: Files, number: int) -> tuple[Generation, bytes]:
    path = layout.generation_path(number)
    data = files.read(path)
    generation = Generation.from_bytes(data, f"{files.root}/{path}")
    if generation.number != number:
        raise DamagedError(f"{files.root}/{path} holds generation {generation.number}; run `faceindex check`")
    return generation, data


def numbers(files: Files) -> list[int]:
    """Return the numbers of the generations whose manifests are there, ascending."""
    # Other files of a generation may be JSON too.
    named = {path: layout.generation_number(path) for path in files.paths(layout.GENERATIONS)}
    return sorted(number for path, number in named.items() if number and path == layout.generation_path(number))


def restore_current(files: Files) -> Generation | None:
    """Serve the newest generation whose manifest is whole, when `CURRENT` was lost; None when there is none.

    Only on a person's request: what is served may be one generation newer or older than what was.
    """
    for number in reversed(numbers(files)):
        try:
            generation, data = _load(files, number)
        except DamagedError:
            continue
        files.write(layout.CURRENT, _current_line(number, data))
        return generation
    return None


def seal_json(document: Mapping[str, Any]) -> bytes:
    """Return a JSON document whose first key is the checksum of all that follows it."""
    return seal(JSON_SEAL, json.dumps(document).removeprefix("{").encode())


def unseal_json(data: bytes, source: str) -> dict[str, Any]:
    """Return a document that `seal_json` wrote, without its checksum.

    Raises:
        DamagedError: a byte of it differs from what was written; the message names `source`.
    """
    document: dict[str, Any] = json.loads(b"{" + unseal(JSON_SEAL, data, source))
    return document


def _current_line(number: int, manifest: bytes) -> bytes:
    return f"{number} {digest(manifest)}\n".encode()


def _current_damaged(files: Files, what: str) -> DamagedError:
    return DamagedError(
        f"{files.root}/{layout.CURRENT} {what}; run `faceindex check --repair` to serve the newest whole generation"
    )


def _optional_json(entry: FileEntry | None) -> dict[str, Any] | None:
    return entry.to_json() if entry else None


def _optional_entry(value: Mapping[str, Any] | None) -> FileEntry | None:
    return FileEntry.from_json(value) if value else None
