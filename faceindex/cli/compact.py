"""`faceindex compact`."""

import time

import rich_click as click

from faceindex.cli.options import catalog_option, console, json_option, print_json


@click.command()
@catalog_option
@click.option("--rebuild", is_flag=True, help="Train and build the whole index anew from the stored embeddings.")
@json_option
def compact(catalog: str, rebuild: bool, as_json: bool) -> None:
    """Merge small files and shards, and drop what is dead.

    Searches go on meanwhile. The old files go a day later, when no search can be using them any more.
    """
    from faceindex.catalog.catalog import Catalog
    from faceindex.catalog.upkeep import collect
    from faceindex.errors import NothingFoundError
    from faceindex.pipeline.compact import compact as compacted

    start = time.perf_counter()
    opened = Catalog.open(catalog)
    with opened.lock("faceindex compact"):
        before = opened.current()
        if before is None:
            raise NothingFoundError(f"nothing is indexed in {opened.root} yet; run `faceindex index PHOTOS` first")
        after = compacted(opened, before, rebuild=rebuild)
        removed = collect(opened.files)
    seconds = time.perf_counter() - start
    if as_json:
        print_json(
            {
                "schema": "faceindex.compact/1",
                "catalog": opened.root,
                "generation": after.number,
                "batches": {"before": len(before.batches), "after": len(after.batches)},
                "shards": {"before": len(before.shards), "after": len(after.shards)},
                "removed_files": len(removed),
                "seconds": round(seconds, 3),
            }
        )
        return
    out = console()
    if after.number == before.number:
        out.print("nothing to merge or drop")
        return
    out.print(
        f"files of photos and faces: {len(before.batches):,} -> {len(after.batches):,}; "
        f"shards: {len(before.shards):,} -> {len(after.shards):,}; {seconds:.1f} s"
    )
    out.print(f"generation {after.number:,} is served; the old files go in a day")
