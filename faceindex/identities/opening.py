"""The people of a catalog, opened for a command or a service."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.catalog.parquet import open_arrow, read_table
from faceindex.errors import CatalogError
from faceindex.identities.grouping import regrouped
from faceindex.identities.people import People, PeopleOf
from faceindex.identities.selection import Clusters
from faceindex.identities.suggestions import Question, questions, require_links
from faceindex.tables import CLUSTERS, ID, UNCLUSTERED, from_id_column


def open_people(root: str) -> tuple[Catalog, Generation, PeopleOf]:
    """Open the catalog at a path or URL with its people.

    Raises:
        CatalogError: there is none, or nothing was published in it yet.
    """
    catalog = Catalog.open(root)
    served = catalog.current()
    if served is None:
        raise CatalogError(f"{catalog.root} has no published generation yet; run the same `faceindex index` again")
    return catalog, served, PeopleOf(catalog, served)


@dataclass(frozen=True, slots=True, eq=False)
class KnownClusters:
    """The clusters of a generation as they were computed."""

    table: pa.Table
    """`tables.CLUSTERS`."""
    first_free: int = 1
    """Number that no cluster had."""
    inserted: int = 0
    """Faces that joined since all were clustered afresh."""
    made_with: str = ""
    """Model and constants."""

    def to_table(self) -> pa.Table:
        """Return what is written: the rest stands in the metadata."""
        told = {"first_free": str(self.first_free), "inserted": str(self.inserted), "made_with": self.made_with}
        named = {f"faceindex.{name}": value for name, value in told.items()}
        return self.table.replace_schema_metadata({**CLUSTERS.metadata, **named})


def read_clusters(catalog: Catalog, generation: Generation) -> KnownClusters:
    """Return the clusters of a generation; none before its faces were clustered.

    Raises:
        DamagedError: the file is missing or differs from what the generation recorded.
    """
    if generation.clusters is None:
        return KnownClusters(CLUSTERS.empty_table())
    table = open_arrow(catalog.files, generation.clusters)
    told = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
    return KnownClusters(
        table.replace_schema_metadata(CLUSTERS.metadata),
        int(told.get("faceindex.first_free", "1")),
        int(told.get("faceindex.inserted", "0")),
        told.get("faceindex.made_with", ""),
    )


def clusters_of(catalog: Catalog, generation: Generation, people: People) -> Clusters:
    """Return the clusters of a generation as the ledger has them now, of faces that live and are not left out."""
    return numbered_clusters_of(catalog, generation, people)[0]


def numbered_clusters_of(catalog: Catalog, generation: Generation, people: People) -> tuple[dict[int, list[int]], int]:
    """Return the same, and the next number for a cluster."""
    known = read_clusters(catalog, generation)
    places, numbers = people.rows.find(from_id_column(known.table["face_id"])), known.table["cluster"].to_numpy()
    kept = (places >= 0) & (numbers != UNCLUSTERED)
    clusters: dict[int, list[int]] = {}
    for number, place in zip(numbers[kept].tolist(), places[kept].tolist(), strict=True):
        clusters.setdefault(number, []).append(place)
    return regrouped(clusters, people, known.first_free)


def questions_of(catalog: Catalog, generation: Generation, people: People) -> list[Question]:
    """Return what is worth asking about a generation now.

    Raises:
        ConfigError: its faces were not clustered yet.
    """
    links = require_links(open_arrow(catalog.files, generation.links) if generation.links else None)
    clusters = clusters_of(catalog, generation, people)
    return questions(people, clusters, links, catalog.settings.min_quality)


def crops_of(catalog: Catalog, generation: Generation, people: People, places: NDArray[np.int64]) -> dict[int, bytes]:
    """Return the small JPEG of each face by its place; those without one are missing."""
    rows = people.rows.take(places)
    wanted = dict(zip(rows["face_id"].to_pylist(), places.tolist(), strict=True))
    there = people.view.filter(pc.is_in(people.view["photo_id"], value_set=rows["photo_id"].unique()))
    likely = set(there["batch"].unique().to_pylist())
    # The batch of a copy holds no faces: those are with the photo that was seen first.
    found: dict[int, bytes] = {}
    for name in sorted(generation.batches, key=lambda name: (name not in likely, name)):
        entry = generation.batches[name].crops
        if len(found) == len(wanted):
            break
        if entry is None:
            continue
        crops = read_table(catalog.files, entry)
        crops = crops.filter(pc.is_in(crops["face_id"], value_set=pa.array(list(wanted), ID)))
        pairs = zip(crops["face_id"].to_pylist(), crops["jpeg"].to_pylist(), strict=True)
        found |= {wanted[face]: jpeg for face, jpeg in pairs}
    return found
