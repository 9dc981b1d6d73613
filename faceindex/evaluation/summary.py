"""The document `faceindex.evaluate/1` for people: tables for a terminal, and one HTML page with the plots."""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from faceindex.wording import visible

Document = Mapping[str, Any]

TITLES = {
    "det": "1:1 error rates at every threshold",
    "roc": "1:1 true accept rate at every false accept rate",
    "scores": "Similarities of one person's faces and of two people's",
    "identification": "1:N errors at every threshold, by gallery size",
    "cmc": "1:N without strangers, by rank",
    "reliability": "Do probabilities mean what they say?",
}
"""Of the plots, in the order of the page."""

WORDS = (
    ("FMR, FAR", "share of comparisons of two people that reach the threshold: false matches"),
    ("FNMR", "share of comparisons of one person that do not; TAR is the rest"),
    ("EER", "where FMR and FNMR are equal"),
    ("FPIR", "share of strangers' searches that find anybody at the threshold"),
    (
        "FNIR",
        "share of enrolled people's searches that do not find them first, or not at the threshold; DIR is the rest",
    ),
    (
        "Cllr",
        "cost of the likelihood ratios in bits: 0 is perfect, 1 says nothing; the least possible is what better "
        "calibration could reach",
    ),
)
"""What the abbreviations stand for."""

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; color: #1f2328; margin: 24px auto; max-width: 1180px; padding: 0 16px }
table { border-collapse: collapse; margin: 4px 0 20px }
th, td { padding: 3px 14px 3px 0; text-align: right; border-bottom: 1px solid #d8dce0; white-space: nowrap }
th { font-weight: 600 } th:first-child, td:first-child { text-align: left }
h2 { font-size: 16px; margin: 20px 0 4px } figure { margin: 0 } figcaption { font-weight: 600 }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: 20px } img { width: 100% }
dt { font-weight: 600; float: left; clear: left; width: 90px } dd { margin: 0 0 2px 90px } details { margin: 8px 0 }
.note { color: #9a6700 }
"""


@dataclass(frozen=True, slots=True)
class SummaryTable:
    """Rows of text under a title; the first row says what the columns are."""

    title: str
    rows: list[list[str]]


def headline(document: Document) -> str:
    """Return what was measured on, in a line."""
    return (
        f"{document['faces']:,} faces of {document['people']:,} people, {document['people_with_two_faces']:,} of them "
        f"with two or more; {document['photos_without_face']:,} of {document['photos']:,} photos without a face; "
        f"{visible(document['model'])}"
    )


def tables_of(document: Document) -> list[SummaryTable]:
    """Return the figures as tables; rates with 95 % intervals over people."""
    tables = []
    if document["pairs"]:
        tables.append(_pairs_table(document["pairs"]))
    tables.append(_verification_table(document["verification"]))
    if document["identification"]:
        tables.extend(_identification_tables(document["identification"]))
    if document["blufr_style"]:
        tables.append(_blufr_table(document["blufr_style"]))
    if document["probability"]:
        tables.append(_probability_table(document["probability"]))
    return tables


def page(document: Document, plots: Mapping[str, bytes]) -> str:
    """Return one HTML file that fetches nothing.

    Args:
        document: `faceindex.evaluate/1`.
        plots: SVG files by name.
    """
    figures = "\n".join(
        f"<figure><figcaption>{TITLES[name]}</figcaption>"
        f'<img alt="{TITLES[name]}" src="data:image/svg+xml;base64,{base64.b64encode(plots[name]).decode()}"></figure>'
        for name in TITLES
        if name in plots
    )
    tables = "\n".join(f"<h2>{html.escape(table.title)}</h2>{_table(table.rows)}" for table in tables_of(document))
    words = "".join(f"<dt>{name}</dt><dd>{html.escape(meaning)}</dd>" for name, meaning in WORDS)
    notes = "".join(f'<p class="note">{html.escape(visible(note))}</p>' for note in document["notes"])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>faceindex evaluate</title>\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f"<style>{_STYLE}</style></head>\n<body><h1>Error rates</h1><p>{html.escape(headline(document))}<br>"
        f"<bdi>{html.escape(visible(document['catalog']))}</bdi>, generation {document['generation']}; "
        f"seed {document['seed']}; intervals of 95 % over people.</p>{notes}\n"
        f"<details><summary>What the abbreviations mean</summary><dl>{words}</dl></details>\n"
        f'{tables}\n<div class="plots">{figures}</div>\n</body></html>\n'
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line(rows[0], 'th')}{''.join(line(row, 'td') for row in rows[1:])}</table>"


def _pairs_table(pairs: Document) -> SummaryTable:
    folds = [
        [str(number), f"{fold['accuracy']:.2%}", f"{fold['threshold']:.4f}"]
        for number, fold in enumerate(pairs["folds"], start=1)
    ]
    spread = "" if pairs["standard_error"] is None else f" ± {100 * pairs['standard_error']:.2f}"
    mean = ["all", f"{pairs['accuracy']:.2%}{spread}", ""]
    missing = f", {pairs['missing']:,} without a face counted as errors" if pairs["missing"] else ""
    title = f"LFW pairs: {pairs['pairs']:,} in {len(folds)} folds, threshold from the others{missing}"
    return SummaryTable(title, [["fold", "accuracy", "threshold"], *folds, mean])


def _verification_table(found: Document) -> SummaryTable:
    rows = [["FMR (FAR)", "counted", "threshold", "TAR", "FNMR", "pairs of people above"]]
    rows += [
        [
            f"{100 * point['fmr_asked']:g} %",
            _few(point["fmr"]),
            f"{point['threshold']:.4f}",
            _rate(point["tar"]),
            _rate(point["fnmr"]),
            f"{point['person_pairs_above']:,}",
        ]
        for point in found["points"]
    ]
    rows.append(["EER", "", "", "", _rate(found["eer"]), ""])
    return SummaryTable(
        f"1:1, {found['mated_comparisons']:,} mated and {found['nonmated_comparisons']:,} non-mated comparisons, "
        "each person counted once",
        rows,
    )


def _identification_tables(found: Document) -> list[SummaryTable]:
    galleries = found["galleries"]
    rates = [point["fpir_asked"] for point in galleries[0]["points"]]
    closed = [["people enrolled", "rank 1", "rank 5", "rank 20"]]
    closed += [
        [f"{one['gallery_size']:,}", _rate(one["rank_1"]), f"{one['cmc'][4]:.2%}", f"{one['cmc'][-1]:.2%}"]
        for one in galleries
    ]
    opened = [["people enrolled", *(f"DIR at FPIR {100 * rate:g} %" for rate in rates)]]
    limits = [["people enrolled", *(f"threshold at {100 * rate:g} %" for rate in rates)]]
    for one in galleries:
        size = f"{one['gallery_size']:,}"
        opened.append([size, *(_rate(point["dir"]) if point["measured"] else "-" for point in one["points"])])
        limits.append([size, *(_threshold(point) for point in one["points"])])
    by = "by normalised scores" if found["score"] == "normalised" else "by cosines"
    trials = f"{by}, {found['mated_searches']:,} mated and {found['nonmated_searches']:,} stranger searches"
    return [
        SummaryTable(f"1:N, one photo each, {trials}: found first and above the threshold (1 - FNIR)", opened),
        SummaryTable(
            "1:N thresholds, and what their FPIR may be (* extrapolated: fewer than ten pairs of people above)", limits
        ),
        SummaryTable("1:N without strangers: found at this rank or better", closed),
    ]


def _blufr_table(found: Document) -> SummaryTable:
    rows = [["", "mean", "sd", "mean - sd"]]
    for key, name in (("verification_rate", "verification rate"), ("identification_rate", "open set DIR, rank 1")):
        rate = found[key]
        rows.append(
            [
                f"{name} at FAR {100 * rate['far']:g} %",
                *(f"{rate[part]:.2%}" for part in ("mean", "sd", "mean_less_sd")),
            ]
        )
    return SummaryTable(
        f"in the manner of BLUFR: {found['trials']} random trials, {found['gallery_size']:,} enrolled, every "
        "comparison counted once",
        rows,
    )


def _probability_table(found: Document) -> SummaryTable:
    rows = [["said", "right", "answers"]]
    rows += [
        [f"{one['predicted']:.1%}", f"{one['observed']:.1%}", f"{one['trials']:,}"]
        for one in found["reliability"]["bins"]
    ]
    return SummaryTable(
        f"probabilities of first candidates, {found['gallery_size']:,} enrolled: calibration error "
        f"{found['reliability']['error']:.3f}; 1:1 Cllr {found['cllr']:.4f}, least possible {found['min_cllr']:.4f}",
        rows,
    )


def _few(rate: Document) -> str:
    """Return a small rate, to as many digits as its interval is worth."""
    return f"{100 * rate['value']:.2g} % ({100 * rate['low']:.2g}-{100 * rate['high']:.2g})"


def _threshold(point: Document) -> str:
    fpir = point["fpir"]
    known = f" ({100 * fpir['low']:.2g}-{100 * fpir['high']:.2g} %)" if point["measured"] else "*"
    return f"{point['threshold']:.4f}{known}"


def _rate(rate: Document) -> str:
    return f"{100 * rate['value']:.2f} % ({100 * rate['low']:.2f}-{100 * rate['high']:.2f})"
