"""Group the unknown faces of a catalog into people, to be named; for a job that runs at night.

python jobs/cluster_faces.py --catalog /archive/faceindex

What people said is obeyed: named faces keep their names, faces told apart stay apart, two faces of one photo are two
people. Clusters keep their numbers.
"""

import rich_click as click

from faceindex.catalog.catalog import Catalog
from faceindex.errors import CatalogError
from faceindex.pipeline.clustering import publish_clusters


@click.command()
@click.option("--catalog", required=True, help="Folder or URL of the catalog.")
def main(catalog: str) -> None:
    """Cluster, publish, and say what was found."""
    opened = Catalog.open(catalog)
    with opened.lock("jobs/cluster_faces.py"):
        served = opened.current()
        if served is None:
            raise CatalogError(f"{opened.root} has no published generation yet; run jobs/index_photos.py first")
        found = publish_clusters(opened, served)
    print(f"{found.faces:,} faces in {found.clusters:,} clusters, {found.unclustered:,} by themselves")
    print(f"generation {found.generation.number} is served")


if __name__ == "__main__":
    main()
