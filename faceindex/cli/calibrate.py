"""`faceindex calibrate`."""

from typing import TYPE_CHECKING, Any

import rich_click as click

from faceindex.cli.options import catalog_option, console, counted, json_option, print_json, printable

if TYPE_CHECKING:
    from faceindex.catalog.catalog import Catalog
    from faceindex.catalog.generations import Generation

FPIRS = (0.1, 0.03, 0.01, 0.003, 0.001)
FMRS = (1e-2, 1e-3, 1e-4, 1e-5)


@click.command()
@catalog_option
@json_option
def calibrate(catalog: str, as_json: bool) -> None:
    """Learn thresholds from the catalog's faces as they are now, and show them.

    Every `faceindex index` does this too. Labelled people are learnt from where there are 200 or more; otherwise pairs
    of unlabelled faces say where this archive's people are, and the rest comes from the table of the model.
    """
    from faceindex.catalog.catalog import Catalog
    from faceindex.errors import NothingFoundError
    from faceindex.pipeline.publish import publish_calibration

    opened = Catalog.open(catalog)
    with opened.lock("faceindex calibrate"):
        served = opened.current()
        if served is None or not served.face_count:
            raise NothingFoundError(f"{opened.root} has no faces to learn from; run `faceindex index PHOTOS` first")
        after = publish_calibration(opened, served)
    document = _document(opened, after)
    if as_json:
        print_json(document)
    else:
        _show(document)


def _document(catalog: "Catalog", generation: "Generation") -> dict[str, Any]:
    from faceindex.decisions.calibration import Calibration

    found = Calibration.read(catalog.files, generation)
    table = found.table
    document: dict[str, Any] = {
        "schema": "faceindex.calibrate/1",
        "catalog": catalog.root,
        "generation": generation.number,
        "model": generation.model,
        "source": table.source if table else None,
        "note": table.note if table else "no table of this model, and fewer than 200 labelled people",
        "gallery_size": found.entries,
        "people": len(found.templates.names),
        "cohort": len(found.members.face_ids) if found.members else 0,
        "identification": [],
        "verification": [],
    }
    if table is None:
        return document
    for fpir in FPIRS:
        limit = table.identification_threshold(fpir, found.entries)
        decided = found.threshold(fpir, found.entries)
        document["identification"].append(
            {
                "fpir": fpir,
                "value": round(limit.value, 6),
                "normalised": round(decided.value, 6) if found.members else None,
                "extrapolated": decided.extrapolated,
                "trials": decided.trials,
                "pairs": decided.pairs,
                "interval": decided.interval,
            }
        )
    for fmr in FMRS:
        limit = table.verification_threshold(fmr)
        document["verification"].append(
            {
                "fmr": fmr,
                "value": round(limit.value, 6),
                "extrapolated": limit.extrapolated,
                "trials": limit.trials,
                "pairs": limit.pairs,
                "interval": limit.interval,
            }
        )
    return document


SOURCES = {
    "labels": "learnt from labelled people of this archive",
    "archive": "from the model's table, moved to where this archive's people are (unlabelled pairs of faces)",
    "model": "from the model's table as it is",
}


def _show(document: dict[str, Any]) -> None:
    from rich.table import Table

    out = console()
    name, number = printable(document["catalog"]), document["generation"]
    out.print(f"[bold]{name}[/], generation {number}: {document['gallery_size']:,} people and faces to tell apart")
    if document["note"]:
        out.print(f"[yellow]{printable(document['note'])}[/]")
    if document["source"] is None:
        return
    out.print(f"thresholds {SOURCES[document['source']]}")
    if document["cohort"]:
        out.print(f"scores are normalised by {counted(document['cohort'], 'face')} of different people")
    for kind, rate, title in (("identification", "fpir", "search --fpir"), ("verification", "fmr", "verify --fmr")):
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in (title, "expect", "similarity", "score", ""):
            table.add_column(heading, justify="left" if not heading else "right")
        for row in document[kind]:
            score = row.get("normalised")
            table.add_row(
                f"{row[rate]:g}",
                "{:.2g} to {:.2g}".format(*row["interval"]) if row["interval"] else "unknown",
                f"{row['value']:.4f}",
                f"{score:.4f}" if score is not None else "",
                f"extrapolated, from {counted(row['pairs'], 'pair')}" if row["extrapolated"] else "measured",
            )
        out.print()
        out.print(table)
