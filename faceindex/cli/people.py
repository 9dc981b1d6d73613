"""`faceindex people`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import rich_click as click

from faceindex.cli.options import catalog_option, console, counted, json_option, print_json, printable
from faceindex.wording import percent

if TYPE_CHECKING:
    from faceindex.catalog.catalog import Catalog
    from faceindex.catalog.generations import Generation
    from faceindex.identities.events import Event
    from faceindex.identities.labelling import Labelling
    from faceindex.identities.ledger import Ledger
    from faceindex.identities.people import People
    from faceindex.identities.selection import Selection

SHOWN = 20
"""Faces and events that are listed on a terminal, without --all."""


class _Opened(NamedTuple):
    """A catalog with its people, and what to do with them."""

    catalog: "Catalog"
    generation: "Generation"
    people: "People"
    select: "Callable[[str], Selection]"
    labelling: "Labelling"


@click.group()
def people() -> None:
    """Name people, and correct what is wrong.

    WHO and FACES are a person's name, the number of a cluster, a photo (photo.jpg, photo.jpg#2 for its second face) or
    the first six or more digits of a face id. Whatever is said is kept for good in the catalog's ledger, survives
    re-indexing and other models, and can be undone.
    """


@people.command("list")
@catalog_option
@json_option
def list_(catalog: str, as_json: bool) -> None:
    """List the people, those with most faces first."""
    from rich.table import Table

    from faceindex.people import people_list

    opened = _open(catalog)
    document = people_list(opened.catalog, opened.generation, opened.people)
    if as_json:
        print_json(document)
        return
    out = console()
    out.print(
        f"{len(document['people']):,} {'person' if len(document['people']) == 1 else 'people'}; "
        f"{document['named']:,} of {counted(document['faces'], 'face')} named, {document['left_out']:,} left out"
    )
    if not document["people"]:
        out.print("name somebody: faceindex people name photo.jpg 'Anna Smith'")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("person", overflow="fold")
    for title in ("faces", "photos"):
        table.add_column(title, justify="right")
    table.add_column("photos from")
    for row in document["people"]:
        days = [(row[end] or "")[:10] for end in ("first", "last")]
        period = " to ".join(dict.fromkeys(days))
        table.add_row(printable(row["person"]), f"{row['faces']:,}", f"{row['photos']:,}", period)
    out.print(table)


@people.command()
@click.argument("who")
@click.option("--sheet", metavar="FILE", help="Write the faces side by side as a picture (.png, .jpg).")
@click.option("--all", "every", is_flag=True, help=f"List more than {SHOWN} faces.")
@catalog_option
@json_option
def show(who: str, sheet: str | None, every: bool, catalog: str, as_json: bool) -> None:
    """Show the faces of a person, a cluster or a photo, the best first.

    Each line begins with the face's id, which the other commands take.
    """
    from rich.table import Table

    from faceindex.people import face_list, quality_text, write_contact_sheet

    opened = _open(catalog)
    document = face_list(opened.catalog, opened.generation, opened.people, opened.select(who))
    if sheet:
        drawn = write_contact_sheet(opened.catalog, opened.generation, opened.people, document, sheet)
        left = f"; {len(document['faces']) - drawn:,} more did not fit" if drawn < len(document["faces"]) else ""
        click.echo(f"wrote {counted(drawn, 'face')} to {sheet}{left}", err=True)
    if as_json:
        print_json(document)
        return
    faces = document["faces"] if every else document["faces"][:SHOWN]
    out = console()
    named = document["kind"] != "person"
    out.print(f"[bold]{printable(who)}[/]: {counted(len(document['faces']), 'face')}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("face", "quality", "taken", *(["person"] if named else []), "photo"):
        table.add_column(title, overflow="fold")
    for face in faces:
        person = [printable(face["person"] or "")] if named else []
        day = (face["captured_at"] or "")[:10]
        table.add_row(face["face_id"][:12], quality_text(face), day, *person, printable(face["photo"]))
    out.print(table)
    if len(faces) < len(document["faces"]):
        out.print(f"[dim]and {len(document['faces']) - len(faces):,} more; --all lists them[/]")


@people.command()
@click.argument("faces", nargs=-1, required=True)
@click.argument("name")
@catalog_option
@json_option
def name(faces: tuple[str, ...], name: str, catalog: str, as_json: bool) -> None:
    """Say who faces are: photos, clusters or face ids.

    Of a cluster those faces are named that nobody said anything else of.
    """
    from faceindex.identities.selection import Selection

    opened = _open(catalog)
    chosen = [opened.select(text) for text in faces]
    if len(chosen) > 1:
        places = tuple(place for one in chosen if one.kind != "person" for place in one.places)
        named = next((one for one in chosen if one.kind == "person"), None)
        chosen = [named or Selection("face", "these", places)]
    _tell(opened.labelling.name(chosen[0], name), as_json=as_json)


@people.command()
@click.argument("person")
@click.argument("name")
@catalog_option
@json_option
def rename(person: str, name: str, catalog: str, as_json: bool) -> None:
    """Give a person another name."""
    opened = _open(catalog)
    _tell(opened.labelling.rename(_person(opened, person), name), as_json=as_json)


@people.command()
@click.argument("who")
@click.argument("into")
@catalog_option
@json_option
def merge(who: str, into: str, catalog: str, as_json: bool) -> None:
    """Say that WHO and INTO are one person; INTO's name stays.

    Either may be a person, a cluster, a photo or a face.
    """
    opened = _open(catalog)
    _tell(opened.labelling.merge(opened.select(who), opened.select(into)), as_json=as_json)


@people.command()
@click.argument("who")
@click.argument("faces", nargs=-1, required=True)
@click.option("--to", "name", metavar="NAME", help="Who the faces are instead.")
@catalog_option
@json_option
def split(who: str, faces: tuple[str, ...], name: str | None, catalog: str, as_json: bool) -> None:
    """Take FACES out of a person or a cluster: they are not who the rest is."""
    opened = _open(catalog)
    _tell(opened.labelling.split(opened.select(who), _places(opened, faces), name), as_json=as_json)


@people.command()
@click.argument("person")
@click.argument("faces", nargs=-1, required=True)
@catalog_option
@json_option
def reject(person: str, faces: tuple[str, ...], catalog: str, as_json: bool) -> None:
    """Say that FACES are not PERSON; they never come back to that person by themselves."""
    opened = _open(catalog)
    _tell(opened.labelling.reject(_person(opened, person), _places(opened, faces)), as_json=as_json)


@people.command()
@click.argument("faces", nargs=-1, required=True)
@catalog_option
@json_option
def ignore(faces: tuple[str, ...], catalog: str, as_json: bool) -> None:
    """Leave FACES out of clusters and suggestions: passers-by, crowds. Naming one brings it back."""
    opened = _open(catalog)
    _tell(opened.labelling.leave_out(_places(opened, faces)), as_json=as_json)


@people.command("not-a-face")
@click.argument("faces", nargs=-1, required=True)
@catalog_option
@json_option
def not_a_face(faces: tuple[str, ...], catalog: str, as_json: bool) -> None:
    """Say that the detector took something else for FACES. Naming one brings it back."""
    opened = _open(catalog)
    _tell(opened.labelling.leave_out(_places(opened, faces), faces=False), as_json=as_json)


@people.command()
@click.argument("event", required=False)
@catalog_option
@json_option
def undo(event: str | None, catalog: str, as_json: bool) -> None:
    """Take back what was said last, or the EVENT that `people history` lists, whenever that was said."""
    _tell(_open(catalog).labelling.undo(event), "undone: ", as_json=as_json)


@people.command()
@click.argument("event", required=False)
@catalog_option
@json_option
def redo(event: str | None, catalog: str, as_json: bool) -> None:
    """Let what was undone last count again, or the EVENT that `people history` lists."""
    _tell(_open(catalog).labelling.redo(event), "done again: ", as_json=as_json)


@people.command()
@click.option("--all", "every", is_flag=True, help=f"List more than the last {SHOWN} events.")
@catalog_option
def history(every: bool, catalog: str) -> None:
    """List what was said, the latest first; `people export` prints all of it for programs."""
    from faceindex.people import told

    ledger = _ledger(catalog)
    events = ledger.events()
    counting = {event.event_id for event in ledger.state().done}
    out = console()
    for event in events[::-1] if every else events[: -SHOWN - 1 : -1]:
        off = (
            ""
            if event.event_id in counting or event.target or event.kind.value == "erased"
            else "  [yellow](undone)[/]"
        )
        said = printable(told(event))
        out.print(f"{event.event_id[:8]}  {event.at[:19]}  {printable(event.author)}: {said}{off}")
    if not events:
        out.print("nothing was said yet")


@people.command("export")
@click.argument("file", default="-")
@catalog_option
def export_(file: str, catalog: str) -> None:
    """Write all that was said as JSON lines, to stdout or FILE; `people import` reads them into any catalog."""
    from faceindex.outputs import write_private
    from faceindex.people import export_events

    payload = export_events(_ledger(catalog).events())
    if file == "-":
        sys.stdout.buffer.write(payload)
    else:
        write_private(Path(file), payload, "export")
        click.echo(f"wrote {counted(len(payload.splitlines()), 'event')} to {file}", err=True)


@people.command()
@click.option("-n", "count", type=click.IntRange(min=1), default=10, show_default=True, help="Questions at most.")
@click.option("--yes", multiple=True, metavar="QUESTION", help="Answer a question with yes; may be given again.")
@click.option("--no", multiple=True, metavar="QUESTION", help="Answer a question with no; may be given again.")
@catalog_option
@json_option
def suggest(count: int, yes: tuple[str, ...], no: tuple[str, ...], catalog: str, as_json: bool) -> None:
    """Ask what would settle most: who unknown faces are likely to be, which clusters are one person, or two.

    An answer counts at once, and what was answered is not asked again. QUESTION is the word that one begins with.
    """
    from faceindex.people import answer_questions, suggestion_list

    opened = _open(catalog)
    if yes or no:
        for event in answer_questions(opened.catalog, opened.generation, opened.people, opened.labelling, yes, no):
            _tell(event, as_json=as_json)
        return
    document = suggestion_list(opened.catalog, opened.generation, opened.people, count)
    if as_json:
        print_json(document)
        return
    out = console()
    for one in document["suggestions"]:
        out.print(f"{one['question']}  [bold]{printable(one['text'])}[/] {percent(one['probability'])}")
        out.print(f"[dim]faceindex people show {one['faces'][0][:12]}; the others {one['others'][0][:12]}[/]")
    if document["suggestions"]:
        out.print(
            f"\n{counted(document['questions'], 'question')}; answer with faceindex people suggest --yes QUESTION"
        )
    else:
        out.print("nothing to ask; name some people, and run `faceindex cluster` after indexing")


@people.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@catalog_option
@json_option
def import_(file: str, catalog: str, as_json: bool) -> None:
    """Take in what `people export` wrote, from FILE or stdin (-); what is known already changes nothing."""
    from faceindex.people import import_events

    data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    new, count = import_events(_ledger(catalog), data, file)
    if as_json:
        print_json({"schema": "faceindex.people_import/1", "new": new, "events": count})
    else:
        console().print(f"{counted(new, 'event')} of {count:,} new")


def _open(catalog: str) -> _Opened:
    from faceindex.identities.labelling import Labelling
    from faceindex.identities.opening import clusters_of, open_people
    from faceindex.identities.selection import select
    from faceindex.machine import user_name

    at, generation, people_of = open_people(catalog)
    now = people_of.now()
    clusters = clusters_of(at, generation, now)
    return _Opened(at, generation, now, lambda text: select(text, now, clusters), Labelling(people_of, user_name()))


def _ledger(catalog: str) -> "Ledger":
    from faceindex.catalog.catalog import Catalog
    from faceindex.identities.ledger import Ledger

    return Ledger(Catalog.open(catalog).files)


def _person(opened: _Opened, text: str) -> str:
    from faceindex.identities.selection import select_person

    return select_person(text, opened.people)


def _places(opened: _Opened, faces: tuple[str, ...]) -> list[int]:
    return [place for text in faces for place in opened.select(text).places]


def _tell(event: "Event", before: str = "", *, as_json: bool) -> None:
    """Print what was said."""
    import json

    from faceindex.people import told

    if as_json:
        print_json(json.loads(event.to_line()))
    else:
        console().print(before + printable(told(event)))
