"""`faceindex verify`."""

from typing import TYPE_CHECKING

import rich_click as click

from faceindex.cli.options import console, device_option, json_option, print_json, printable
from faceindex.wording import percent

if TYPE_CHECKING:
    from faceindex.verification import VerifyAnswer


@click.command()
@click.argument("a", type=click.Path(exists=True, dir_okay=False))
@click.argument("b", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--fmr",
    default=1e-4,
    show_default=True,
    metavar="RATE",
    help="How often two pictures of different people may be called the same.",
)
@click.option("--threshold", type=float, metavar="S", help="Decide by this cosine similarity instead of an error rate.")
@click.option(
    "-c",
    "--catalog",
    metavar="DIR",
    help="Use this catalog's network, and the thresholds it learnt from its own people, where it did.",
)
@click.option("--model", metavar="NAME", help="Embedder, by default dlib-resnet29; see `faceindex models list`.")
@click.option("--weights", metavar="FILE", help="File with the embedder's weights.")
@device_option
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    a: str,
    b: str,
    fmr: float,
    threshold: float | None,
    catalog: str | None,
    model: str | None,
    weights: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Tell whether two pictures show the same person.

    Of pictures with several faces the most alike pair decides. It is chosen among many, so it has to meet a threshold
    that is stricter by as much: that of the error rate over the number of pairs.

    Exit code 0: answered, same or different. 4: a picture has no face.
    """
    import faceindex
    from faceindex.config import Settings
    from faceindex.faces.recogniser import Recogniser
    from faceindex.verification import verify as compare

    if catalog and (model or weights):
        raise click.UsageError("a catalog has its own network: give --catalog, or --model and --weights")
    if catalog:
        opened = faceindex.open(catalog, device=device)
        settings, recogniser, table = opened.catalog.settings, opened.recogniser, opened.calibration.table
    else:
        settings = Settings(embedder=model or Settings().embedder, weights=weights or "")
        recogniser, table = Recogniser.load(settings, device, weights), None
    answer = compare(a, b, recogniser, settings, fmr=fmr, threshold=threshold, table=table)
    if as_json:
        print_json(answer.to_json())
    else:
        _show(answer)
    if answer.decision == "no_face":
        ctx.exit(4)


def _show(answer: "VerifyAnswer") -> None:
    out, sides = console(), (answer.a, answer.b)
    if answer.similarity is None:
        faceless = [printable(side.image) for side in sides if not side.faces]
        out.print("[yellow]no face found[/] in " + " and ".join(faceless))
        return
    likely = answer.probability is not None and answer.probability > 0.5
    different = "[yellow]not sure enough[/]" if likely else "[yellow]different people[/]"
    mark = "[green]same person[/]" if answer.decision == "same" else different
    odds = "" if answer.probability is None else f", probability {percent(answer.probability)} at even odds"
    ratio = answer.log_likelihood_ratio
    odds += "" if ratio is None else f", log-likelihood ratio {ratio:+.1f}"
    out.print(f"{mark}: similarity {answer.similarity:.4f}{odds}")
    out.print(f"threshold {answer.threshold:.4f}: {_rule(answer)}")
    for side in sides:
        x0, y0, x1, y1 = (round(edge) for edge in side.box or ())
        place = f"face {side.face} (of {side.faces})" if side.faces > 1 else "one face"
        out.print(
            f"{printable(side.image)}: {place} at ({x0}, {y0})-({x1}, {y1}), confidence {side.confidence:.3f}, "
            f"quality {side.quality:.2f}"
        )
    for note in answer.notes:
        out.print(f"[yellow]{printable(note)}[/]")


def _rule(answer: "VerifyAnswer") -> str:
    """Return where the threshold comes from, in words."""
    best = f"the best of {answer.comparisons:,} pairs of faces" if answer.comparisons > 1 else ""
    if answer.fmr is None:
        return "yours" + (f", met by {best}" if best else "")
    rate = f"fmr {answer.fmr:g}"
    if best:
        rate += f", so {answer.fmr_per_comparison:.2g} for {best}"
    source = {"labels": "this archive's people", "archive": "this archive", "model": "model table"}
    known = ", extrapolated" if answer.extrapolated else ""
    if answer.interval:
        known += "; {:.2g} to {:.2g} expected".format(*answer.interval)
    return f"{rate} ({source[answer.threshold_source]}{known})"
