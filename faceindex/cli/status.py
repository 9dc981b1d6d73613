"""`faceindex status`."""

import rich_click as click

from faceindex.cli.options import catalog_option, console, counted, json_option, print_json, printable


@click.command()
@catalog_option
@json_option
def status(catalog: str, as_json: bool) -> None:
    """Show what the catalog holds: photos by state, faces, index and threshold."""
    from faceindex.catalog.catalog import Catalog
    from faceindex.status import status as status_of

    document = status_of(Catalog.open(catalog))
    if as_json:
        print_json(document)
        return
    out = console()
    out.print(f"[bold]{printable(document['catalog'])}[/], model {document['model']}")
    if document["generation"] is None:
        out.print("nothing published yet; run `faceindex index` again to finish the interrupted run")
        return
    out.print(f"generation {document['generation']}, published {document['published']}")
    states = ", ".join(f"{count:,} {state}" for state, count in sorted(document["photos"].items()))
    out.print(f"{counted(sum(document['photos'].values()), 'photo')} ({states}), {counted(document['faces'], 'face')}")
    index = document["index"]
    quality = "" if index["factory"] == "exact" else f", recall@10 {index['recall_at_10']:.3f}"
    shards = counted(index["shards"], "shard")
    out.print(f"index {printable(index['factory'])} in {shards}, {index['bytes_per_face']:,.0f} bytes a face{quality}")
    if limit := document["threshold"]:
        kind = "extrapolated" if limit["extrapolated"] else "measured"
        out.print(f"threshold {limit['value']:.4f} for fpir {limit['fpir']:g} ({limit['source']} table, {kind})")
    out.print(f"{document['disk_bytes'] / 1e6:,.1f} MB on disk; roots: {printable(', '.join(document['roots']))}")
