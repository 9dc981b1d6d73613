"""`faceindex cluster`."""

import time
from typing import TYPE_CHECKING

import rich_click as click

from faceindex.cli.options import catalog_option, console, counted, json_option, print_json, printable

if TYPE_CHECKING:
    from faceindex.catalog.catalog import Catalog
    from faceindex.catalog.generations import Generation

SHOWN = 20


@click.command()
@catalog_option
@click.option("--afresh", is_flag=True, help="Cluster all faces afresh, however few are new.")
@json_option
def cluster(catalog: str, afresh: bool, as_json: bool) -> None:
    """Group unknown faces into people, to be named.

    What people said is obeyed: named faces keep their names, faces told apart stay apart, and two faces of one photo
    are two people unless somebody said otherwise. Run it again after naming or indexing: clusters keep their numbers.
    New faces join the clusters there are; once a fifth of all faces did, all are clustered afresh.
    """
    from faceindex.catalog.catalog import Catalog
    from faceindex.errors import NothingFoundError
    from faceindex.pipeline.clustering import publish_clusters

    start = time.perf_counter()
    opened = Catalog.open(catalog)
    with opened.lock("faceindex cluster"):
        served = opened.current()
        if served is None or not served.face_count:
            raise NothingFoundError(f"{opened.root} has no faces to cluster; run `faceindex index PHOTOS` first")
        found = publish_clusters(opened, served, afresh=afresh)
    seconds = time.perf_counter() - start
    if as_json:
        print_json(
            {
                "schema": "faceindex.cluster/1",
                "catalog": opened.root,
                "generation": found.generation.number,
                "clusters": found.clusters,
                "faces": found.faces,
                "unclustered": found.unclustered,
                "inserted": found.inserted,
                "seconds": round(seconds, 3),
            }
        )
        return
    out = console()
    faces, clusters = counted(found.faces, "face"), counted(found.clusters, "cluster")
    how = (
        "all clustered afresh"
        if found.inserted is None
        else f"{counted(found.inserted, 'new face')} put in their places"
    )
    out.print(f"{faces} in {clusters}, {found.unclustered:,} by themselves; {how}; {seconds:.1f} s")
    _show_unknown(opened, found.generation)


def _show_unknown(catalog: "Catalog", generation: "Generation") -> None:
    """Print the largest clusters in which nobody has a name."""
    from rich.table import Table

    from faceindex.identities.opening import clusters_of
    from faceindex.identities.people import PeopleOf

    people = PeopleOf(catalog, generation).now()
    unknown = {
        number: places
        for number, places in clusters_of(catalog, generation, people).items()
        if not any(place in people.names for place in places)
    }
    if not unknown:
        return
    out = console()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("cluster", "faces"):
        table.add_column(title, justify="right")
    largest = sorted(unknown, key=lambda number: (-len(unknown[number]), number))
    for number in largest[:SHOWN]:
        table.add_row(str(number), f"{len(unknown[number]):,}")
    out.print(f"\n{counted(len(unknown), 'cluster')} without a name, the largest:")
    out.print(table)
    first = largest[0]
    where = printable(catalog.root)
    out.print(f"\nlook at one: faceindex people show {first} --sheet {first}.png -c {where}")
    out.print(f"name it: faceindex people name {first} 'Anna Smith' -c {where}")
