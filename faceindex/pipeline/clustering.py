"""From a served generation to one with its faces in clusters."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES, ids_array
from faceindex.catalog import generations, layout
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.catalog.parquet import open_arrow, write_arrow
from faceindex.decisions.calibration import Calibration
from faceindex.decisions.links import links
from faceindex.gallery.opening import open_gallery
from faceindex.identities.clustering import LIMITS, Wishes, cluster, limits_of, numbered
from faceindex.identities.graph import Neighbours, search_of
from faceindex.identities.insertion import NEW, insert
from faceindex.identities.opening import KnownClusters, numbered_clusters_of, read_clusters
from faceindex.identities.people import Constraints, People, PeopleOf
from faceindex.identities.rows import positions
from faceindex.identities.selection import Clusters
from faceindex.identities.whispers import FREE
from faceindex.machine import core_count
from faceindex.tables import CLUSTERS, LINKS, UNCLUSTERED, from_id_column, to_id_column

AFRESH = 0.2
"""Share of faces that join the clusters there are before all are clustered afresh. At one in two the clusters of LFW
still agree with fresh ones to 0.99 (BCubed F), but two clusters of one person only ever become one afresh."""


@dataclass(frozen=True, slots=True)
class Clustered:
    """What a clustering gave."""

    generation: Generation
    clusters: int
    """Groups of two faces or more."""
    faces: int
    """Faces in them."""
    unclustered: int
    inserted: int | None
    """New faces that found their places among the clusters there were; None where all were clustered afresh."""


def publish_clusters(catalog: Catalog, served: Generation, *, afresh: bool = False) -> Clustered:
    """Publish a generation whose faces are in clusters; the served one stays where that changes nothing.

    New faces join the clusters there are; once AFRESH of all did, and under another model, all are clustered afresh.
    Named faces keep to their people, faces that somebody told apart stay apart, and so do two faces of one photo,
    unless somebody said that they are one person. Clusters keep the numbers that most of their faces had.

    Args:
        catalog: the catalog, whose writer lock is held.
        served: the generation that is served.
        afresh: cluster all faces afresh, however few are new.

    Raises:
        ConfigError: no constants for the model, and no table of its error rates.
    """
    calibration = Calibration.read(catalog.files, served)
    limits = limits_of(served.model, calibration.table)
    people = PeopleOf(catalog, served).now()
    constraints = people.constraints()
    ids = np.sort(people.rows.ids(people.rows.places).view(f"S{ID_BYTES}"))
    ids = ids[~np.isin(ids, constraints.left_out.view(ids.dtype))]
    face_ids = ids.view(f"V{ID_BYTES}")
    known = read_clusters(catalog, served)
    as_said, first_free = numbered_clusters_of(catalog, served, people)
    before = _before(people, known, as_said, ids)
    wishes = _wishes(people, constraints, ids, catalog.settings.min_quality)
    search = search_of(open_gallery(catalog.files, served), face_ids, core_count())
    # Constants by a table, which every publish may make anew, are no reason to cluster all faces.
    made_with = f"{served.model} {LIMITS.get(served.model.partition('@')[0], 'by table')}"
    new = int((before == NEW).sum())
    afresh = afresh or served.links is None or known.made_with != made_with or known.inserted + new > AFRESH * len(ids)
    if afresh:
        neighbours = search(np.arange(len(ids)))
        labels, kept_links = cluster(neighbours, wishes, limits), LINKS.empty_table()
    else:
        labels, neighbours = insert(search, before, wishes, limits)
        kept_links = _untouched(catalog, served, neighbours, labels, ids)
    numbers, first_free = numbered(labels, np.maximum(before, UNCLUSTERED), first_free)
    table = pa.table([to_id_column(face_ids), pa.array(numbers)], schema=CLUSTERS)
    found = KnownClusters(table, first_free, 0 if afresh else known.inserted + new, made_with)
    together = int((numbers != UNCLUSTERED).sum())
    count = len(np.unique(numbers[numbers != UNCLUSTERED]))
    finished = served
    if served.links is None or not found.to_table().equals(known.to_table(), check_metadata=True):
        new_links = links(calibration, neighbours, labels, face_ids)
        number = served.number + 1
        finished = replace(
            served,
            number=number,
            previous=served.number,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            clusters=write_arrow(catalog.files, layout.clusters_path(number), found.to_table()),
            cluster_count=count,
            links=write_arrow(catalog.files, layout.links_path(number), pa.concat_tables([kept_links, new_links])),
        )
        generations.publish(catalog.files, finished)
    return Clustered(finished, count, together, len(ids) - together, None if afresh else new)


def _before(people: People, known: KnownClusters, as_said: Clusters, ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """Return the cluster of each face so far, UNCLUSTERED for those by themselves and NEW for those never clustered."""
    before = np.full(len(ids), NEW, np.int64)
    places = positions(ids, from_id_column(known.table["face_id"]).view(ids.dtype))
    before[places[places >= 0]] = UNCLUSTERED
    new = before == NEW
    sizes = [len(faces) for faces in as_said.values()]
    faces = np.fromiter(chain.from_iterable(as_said.values()), np.int64, sum(sizes))
    places = positions(ids, people.rows.ids(faces).view(ids.dtype))
    before[places[places >= 0]] = np.repeat(np.array(list(as_said), np.int64), sizes)[places >= 0]
    before[new & ~np.isin(before, before[~new])] = NEW  # said to be the same, but not yet where
    return before


def _untouched(
    catalog: Catalog, served: Generation, neighbours: Neighbours, labels: NDArray[np.int64], ids: NDArray[np.bytes_]
) -> pa.Table:
    """Return the links so far, of faces that were not searched for, and of clusters without any that was."""
    table = open_arrow(catalog.files, served.links) if served.links else LINKS.empty_table()
    one, other = (positions(ids, from_id_column(table[name]).view(ids.dtype)) for name in ("face_id", "other_id"))
    searched = np.zeros(len(ids), np.bool_)
    searched[neighbours.faces] = True
    inside = table["inside"].to_numpy()
    touched = np.where(inside, np.isin(labels, labels[searched])[one], searched[one])
    return table.filter(pa.array((one >= 0) & (other >= 0) & ~touched))


def _wishes(people: People, constraints: Constraints, ids: NDArray[np.bytes_], min_quality: float) -> Wishes:
    """Return what is known of the faces, by their places among `ids`."""

    def places(face_ids: NDArray[np.void]) -> NDArray[np.int64]:
        return positions(ids, np.ascontiguousarray(face_ids).view(ids.dtype))

    def pairs(face_ids: NDArray[np.void]) -> NDArray[np.int64]:
        found = places(face_ids.reshape(-1)).reshape(-1, 2)
        return found[(found >= 0).all(axis=1)]

    fixed = np.full(len(ids), FREE, np.int64)
    number = {name: index for index, name in enumerate(sorted(set(constraints.names.values())))}
    named = places(ids_array(list(constraints.names)))
    fixed[named[named >= 0]] = np.array([number[name] for name in constraints.names.values()], np.int64)[named >= 0]
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
