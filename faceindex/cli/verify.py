"""`faceindex verify`."""

import rich_click as click

from faceindex.cli.options import console, device_option, json_option, print_json, printable
from faceindex.wording import percent


@click.command()
@click.argument("a", type=click.Path(exists=True, dir_okay=False))
@click.argument("b", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--fmr",
    default=1e-4,
    show_default=True,
    metavar="RATE",
    help="How often two different people may be called the same.",
)
@click.option("--threshold", type=float, metavar="S", help="Decide by this cosine similarity instead of an error rate.")
@click.option("--model", default="dlib-resnet29", show_default=True, help="Embedder; see `faceindex models list`.")
@click.option("--weights", default="", metavar="FILE", help="File with the embedder's weights.")
@device_option
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    a: str,
    b: str,
    fmr: float,
    threshold: float | None,
    model: str,
    weights: str,
    device: str,
    as_json: bool,
) -> None:
    """Tell whether two pictures show the same person.

    Of pictures with several faces the most alike pair is compared, at a correspondingly stricter threshold.

    Exit code 0: answered, same or different. 4: a picture has no face.
    """
    from faceindex.config import Settings
    from faceindex.faces.recogniser import Recogniser
    from faceindex.verification import verify as compare

    settings = Settings(embedder=model, weights=weights)
    recogniser = Recogniser.load(settings, device, weights or None)
    answer = compare(a, b, recogniser, settings, fmr=fmr, threshold=threshold)
    if as_json:
        print_json(answer.to_json())
    elif answer.similarity is None:
        faceless = [side["image"] for side in (answer.a, answer.b) if not side["faces"]]
        console().print("[yellow]no face found[/] in " + " and ".join(printable(name) for name in faceless))
    else:
        mark = {"same": "[green]same person[/]", "different": "[yellow]different people[/]"}[answer.decision]
        odds = "" if answer.probability is None else f", probability {percent(answer.probability)} at even odds"
        rule = "yours" if answer.fmr is None else f"fmr {answer.fmr:g}"
        out = console()
        out.print(f"{mark}: similarity {answer.similarity:.4f}{odds}; threshold {answer.threshold:.4f} ({rule})")
        for side in (answer.a, answer.b):
            if side["faces"] > 1:
                x0, y0, x1, y1 = (round(edge) for edge in side["box"])
                name = printable(side["image"])
                out.print(f"compared the face at ({x0}, {y0})-({x1}, {y1}) of {side['faces']} faces in {name}")
    if answer.decision == "no_face":
        ctx.exit(4)
