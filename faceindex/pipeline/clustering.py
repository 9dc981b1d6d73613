"""From a served generation to one with its faces in clusters."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES
from faceindex.catalog import generations, layout
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.catalog.parquet import write_arrow
from faceindex.decisions.calibration import Calibration
from faceindex.decisions.links import links
from faceindex.gallery.opening import open_gallery
from faceindex.identities.clustering import UNCLUSTERED, Wishes, cluster, limits_of, numbered
from faceindex.identities.graph import neighbours_of
from faceindex.identities.opening import numbered_clusters_of, read_clusters
from faceindex.identities.people import Constraints, People, PeopleOf
from faceindex.identities.rows import positions
from faceindex.identities.selection import Clusters
from faceindex.identities.whispers import FREE
from faceindex.machine import core_count
from faceindex.tables import CLUSTERS, from_id_column, to_id_column


@dataclass(frozen=True, slots=True)
class Clustered:
    """What a clustering gave."""

    generation: Generation
    clusters: int
    """Groups of two faces or more."""
    faces: int
    """Faces in them."""
    unclustered: int


def publish_clusters(catalog: Catalog, served: Generation) -> Clustered:
    """Publish a generation whose faces are in clusters; the served one stays where that changes nothing.

    Named faces keep to their people, faces that somebody told apart stay apart, and so do two faces of one photo,
    unless somebody said that they are one person. Clusters keep the numbers that most of their faces had.

    Args:
        catalog: the catalog, whose writer lock is held.
        served: the generation that is served.

    Raises:
        ConfigError: no constants for the model.
    """
    limits = limits_of(served.model)
    people = PeopleOf(catalog, served).now()
    constraints = people.constraints()
    ids = np.sort(people.rows.ids(people.rows.places).view(f"S{ID_BYTES}"))
    ids = ids[~np.isin(ids, constraints.left_out.view(ids.dtype))]
    face_ids = ids.view(f"V{ID_BYTES}")
    neighbours = neighbours_of(open_gallery(catalog.files, served), face_ids, core_count())
    wishes = _wishes(people, constraints, ids, catalog.settings.min_quality)
    labels = cluster(neighbours, wishes, limits)
    before, _ = read_clusters(catalog, served)
    as_said, first_free = numbered_clusters_of(catalog, served, people)
    found, first_free = numbered(labels, _before(people, as_said, ids), first_free)
    kept = found != UNCLUSTERED
    count = len(np.unique(found[kept]))
    table = pa.table([to_id_column(face_ids[kept]), pa.array(found[kept])], schema=CLUSTERS)
    finished = served
    linked = links(Calibration.read(catalog.files, served), neighbours, labels, face_ids)
    if served.clusters is None or served.links is None or not table.equals(before):
        number = served.number + 1
        named = table.replace_schema_metadata({**CLUSTERS.metadata, "faceindex.first_free": str(first_free)})
        finished = replace(
            served,
            number=number,
            previous=served.number,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            clusters=write_arrow(catalog.files, layout.clusters_path(number), named),
            cluster_count=count,
            links=write_arrow(catalog.files, layout.links_path(number), linked),
        )
        generations.publish(catalog.files, finished)
    return Clustered(finished, count, int(kept.sum()), int((~kept).sum()))


def _before(people: People, clusters: Clusters, ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """Return the cluster of each face so far, UNCLUSTERED for those without."""
    known = np.full(len(ids), UNCLUSTERED, np.int64)
    for number, faces in clusters.items():
        places = positions(ids, people.rows.ids(np.array(faces, np.int64)).view(ids.dtype))
        known[places[places >= 0]] = number
    return known


def _wishes(people: People, constraints: Constraints, ids: NDArray[np.bytes_], min_quality: float) -> Wishes:
    """Return what is known of the faces, by their places among `ids`."""

    def places(face_ids: NDArray[np.void]) -> NDArray[np.int64]:
        return positions(ids, np.ascontiguousarray(face_ids).view(ids.dtype))

    def pairs(face_ids: NDArray[np.void]) -> NDArray[np.int64]:
        found = places(face_ids.reshape(-1)).reshape(-1, 2)
        return found[(found >= 0).all(axis=1)]

    fixed = np.full(len(ids), FREE, np.int64)
    number = {name: index for index, name in enumerate(sorted(set(constraints.names.values())))}
    for face, name in constraints.names.items():
        place = int(places(np.array([face], f"V{ID_BYTES}"))[0])
        if place >= 0:
            fixed[place] = number[name]
    together = pairs(constraints.must_link)
    rows = people.rows.take(people.rows.find(ids.view(f"V{ID_BYTES}")))
    mates = _photo_mates(from_id_column(rows["photo_id"]).view(ids.dtype))
    apart = np.concatenate([pairs(constraints.cannot_link), _without(mates, together)])
    both_named = (fixed[apart] != FREE).all(axis=1)
    weak = rows["quality"].to_numpy() < min_quality
    return Wishes(fixed, together[(fixed[together] == FREE).any(axis=1)], apart[~both_named], weak)


def _photo_mates(photo_ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """Return all pairs of faces of one photo, int64 (p, 2)."""

    def of_photos() -> Iterator[NDArray[np.int64]]:
        order = np.argsort(photo_ids, kind="stable")
        _, starts, sizes = np.unique(photo_ids[order], return_index=True, return_counts=True)
        for size in np.unique(sizes[sizes > 1]).tolist():
            groups = order[starts[sizes == size][:, None] + np.arange(size)]
            one, other = np.triu_indices(size, 1)
            yield np.column_stack([groups[:, one].ravel(), groups[:, other].ravel()])

    return np.concatenate([np.empty((0, 2), np.int64), *of_photos()])


def _without(pairs: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pairs that are not among others, in either order."""
    if not len(others) or not len(pairs):
        return pairs
    count = int(max(pairs.max(), others.max())) + 1
    keys, known = (np.sort(one, axis=1) @ np.array([count, 1]) for one in (pairs, others))
    return pairs[~np.isin(keys, known)]
