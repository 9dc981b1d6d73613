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
    if document["people"]:
        out.print(f"{document['people']:,} named {'person' if document['people'] == 1 else 'people'}")
    index = document["index"]
    shards = counted(index["shards"], "shard")
    out.print(f"index {printable(index['factory'])} in {shards}, {index['bytes_per_face']:,.0f} bytes a face")
    if index["factory"] != "exact":
        out.print(
            f"searched at nprobe {index['nprobe']}, {index['rerank']} k re-ranked: recall@10 "
            f"{index['recall_at_10']:.3f}, first as exact search {index['first_agreement']:.3f}, "
            f"of people who are there {index['mated_rank_1']:.3f}; {index['search_ms']:.2f} ms a search in a batch"
        )
        out.print(
            f"opens in {index['open_ms']:,.0f} ms; {index['resident_bytes'] / 1e6:,.1f} MB in memory, "
            f"{index['mapped_bytes'] / 1e6:,.1f} MB mapped"
        )
    if limit := document["threshold"]:
        kind = "extrapolated" if limit["extrapolated"] else "measured"
        out.print(f"threshold {limit['value']:.4f} for fpir {limit['fpir']:g} ({limit['source']}, {kind})")
        if limit.get("note"):
            out.print(f"[yellow]{printable(limit['note'])}[/]")
    out.print(f"{document['disk_bytes'] / 1e6:,.1f} MB on disk; roots: {printable(', '.join(document['roots']))}")
