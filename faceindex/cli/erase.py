"""`faceindex erase`."""

import time
from dataclasses import asdict
from typing import Any

import rich_click as click

from faceindex.cli.options import catalog_option, console, counted, json_option, print_json, printable


@click.command()
@click.argument("person")
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@catalog_option
@json_option
def erase(person: str, dry_run: bool, catalog: str, as_json: bool) -> None:
    """Take a person out of the catalog for good: faces, embeddings, pictures, names, and what was said of them.

    This cannot be undone. At once the person is in no answer any more; then every file is written anew without the
    faces, older generations and copies of the ledger are removed, and all bytes that are left are searched for them.
    Photos are not touched, and the faces in them are not stored again by later runs. Stopped at any moment, the same
    command finishes.

    Exports, contact sheets and copies of the catalog that you made elsewhere are yours to delete.
    """
    from faceindex.catalog.catalog import Catalog
    from faceindex.pipeline.erase import erase_person, planned, require_served

    start = time.perf_counter()
    opened = Catalog.open(catalog)
    document: dict[str, Any] = {"schema": "faceindex.erase/1", "catalog": opened.root, "dry_run": dry_run}
    document |= dict.fromkeys(("unnamed", "batches", "backups", "generations", "removed_files", "in_paths", "proof"))
    if dry_run:
        served = require_served(opened)
        _, counts = planned(opened, served, person)
        document |= {**asdict(counts), "generation": served.number}
    else:
        with opened.lock("faceindex erase"):
            gone = erase_person(opened, person)
        proof = {"files": gone.proof.files, "bytes": gone.proof.size_bytes, "hits": len(gone.proof.hits)}
        document |= {**asdict(gone), "proof": proof}
    document["seconds"] = round(time.perf_counter() - start, 3)
    if as_json:
        print_json(document)
        return
    out = console()
    name, faces = printable(document["person"]), counted(document["faces"], "face")
    photos = counted(document["photos"], "photo")
    if dry_run:
        out.print(f"{name}: {faces} in {photos}, {counted(document['events'], 'event')} that mention them")
        out.print(
            f"{counted(document['batches'], 'data file')} would be written anew; {document['generations']:,} "
            f"generations and {document['backups']:,} copies of the ledger would go. Photos stay."
        )
        if document["unnamed"]:
            out.print(
                f"[yellow]{counted(document['unnamed'], 'face')} without a name in the same clusters would stay: name "
                "them first if they are the same person[/]"
            )
        return
    out.print(f"{name} is erased: {faces} in {photos}, {counted(document['events'], 'event')}; {document['seconds']} s")
    out.print(f"searched {proof['files']:,} files, {proof['bytes']:,} bytes: nothing is left")
    if document["in_paths"]:
        out.print(f"[yellow]the paths of {counted(document['in_paths'], 'photo')} hold the name; photos stay[/]")
    out.print("[dim]exports, sheets and copies of the catalog that you made elsewhere are yours to delete[/]")
