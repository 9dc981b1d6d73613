"""Labelling as people do it: real photos, a real browser, by mouse, by keys and without scripts."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from click.testing import CliRunner
from playwright.sync_api import Browser, Page, expect

from faceindex.cli.main import cli
from tests.support.browser import chromium, served, shoot
from tests.support.labelling_pages import make_app

pytestmark = pytest.mark.slow

PEOPLE = ("Laura_Bush", "Tony_Blair", "Hugo_Chavez", "Jacques_Chirac")
PHOTOS = 7
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 800}


@pytest.fixture(scope="module")
def clustered(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clustered catalog of a few people with several photos each."""
    folder = tmp_path_factory.mktemp("labelling")
    for person in PEOPLE:
        for photo in sorted((shared_data / "lfw-dev" / person).glob("*.jpg"))[:PHOTOS]:
            (folder / "photos").mkdir(exist_ok=True)
            shutil.copy(photo, folder / "photos" / photo.name)
    for command in (["index", str(folder / "photos"), "--workers", "0"], ["cluster"]):
        done = CliRunner().invoke(cli, [*command, "-c", str(folder / "catalog")], catch_exceptions=False)
        assert done.exit_code == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def site(clustered: Path) -> Iterator[str]:
    (clustered / "catalog" / "ledger.sqlite").unlink(missing_ok=True)
    with served(make_app(str(clustered / "catalog"))) as address:
        yield address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=DESKTOP)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if "Content Security" in message.text else None)
    yield page
    context.close()
    assert problems == []


def test_a_group_is_named_split_and_put_back(site: str, page: Page) -> None:
    page.goto(site)
    shoot(page, "home")
    page.get_by_role("link", name="Name the largest group").click()
    expect(page.get_by_role("heading", name="Who is this?")).to_be_visible()
    shoot(page, "group")
    count = page.locator(".face").count()

    faces = page.locator(".face label")
    faces.nth(0).click()
    faces.nth(1).click(modifiers=["Shift"])
    expect(page.locator("[data-selected]")).to_have_text("2 selected")
    shoot(page, "selected")
    page.get_by_role("button", name="Take out").click()
    expect(page.get_by_role("status").first).to_contain_text(f"2 faces split from {count - 2} others")
    expect(page.locator(".face")).to_have_count(count - 2)
    page.locator("#message").get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status").first).to_contain_text("undone")
    expect(page.locator(".face")).to_have_count(count)

    page.get_by_label("Name", exact=True).fill("Laura")
    page.get_by_label("Name", exact=True).press("Enter")
    expect(page.get_by_role("status").first).to_contain_text(f"{count} faces named Laura")
    shoot(page, "named")
    page.get_by_role("link", name="People").click()
    page.get_by_role("link", name=re.compile("Laura")).click()
    expect(page.locator(".face")).to_have_count(count)
    shoot(page, "person")
    page.locator(".source").first.click()
    expect(page.locator(".photo svg image")).to_be_visible()
    shoot(page, "photo")


def test_keys_alone_are_enough(site: str, page: Page) -> None:
    page.goto(f"{site}/unknown/1")
    count = page.locator(".face").count()
    page.locator(".face input").first.focus()

    for key in ("Space", "Shift+ArrowRight", "Shift+ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator("[data-selected]")).to_have_text("3 selected")
    page.keyboard.press("i")
    expect(page.get_by_role("status").first).to_contain_text("3 faces ignored")
    expect(page.locator(".face")).to_have_count(count - 3)
    page.keyboard.press("u")
    expect(page.locator(".face")).to_have_count(count)
    page.keyboard.press("r")
    expect(page.locator(".face")).to_have_count(count - 3)
    page.keyboard.press("n")
    page.keyboard.type("Somebody")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text(f"{count - 3} faces named Somebody")
    before = page.url
    page.keyboard.press("j")
    expect(page).not_to_have_url(before)
    page.keyboard.press("Shift+?")
    expect(page.get_by_role("dialog")).to_be_visible()
    shoot(page, "keys")


def test_a_suggestion_is_confirmed(site: str, page: Page) -> None:
    page.goto(f"{site}/unknown/1")
    count = page.locator(".face").count()
    page.locator(".face label").nth(0).click()
    page.locator(".face label").nth(1).click()
    page.get_by_label("Name", exact=True).fill("Laura")
    page.get_by_label("Name", exact=True).press("Enter")
    expect(page.locator("#message")).to_contain_text("2 faces named Laura")

    page.get_by_role("link", name="Questions").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Are these {count - 2} faces Laura?")
    shoot(page, "question")
    page.keyboard.press("y")

    expect(page.locator("#message")).to_contain_text(f"{count - 2} faces named Laura")
    page.goto(f"{site}/person?name=Laura")
    expect(page.locator(".face")).to_have_count(count)


def test_a_mistake_keeps_what_was_selected(site: str, page: Page) -> None:
    page.goto(f"{site}/unknown/1")
    page.locator(".face label").first.click()

    page.locator("[data-all]").click()

    expect(page.locator(".mistake")).to_contain_text("a name must have a letter")
    expect(page.locator(".face input:checked")).to_have_count(1)


def test_a_picture_is_searched(site: str, page: Page, clustered: Path) -> None:
    picture = min((clustered / "photos").glob("Hugo*"))
    page.goto(f"{site}/find")

    page.get_by_label("Picture").set_input_files(picture)
    page.get_by_role("button", name="Search", exact=True).click()

    expect(page.locator(".answer.identified")).to_have_count(1, timeout=60_000)
    expect(page.locator(".candidates li").first).to_contain_text("1.000")
    shoot(page, "find")


def test_everything_works_without_scripts(site: str, browser: Browser) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{site}/unknown/1")
    count = page.locator(".face").count()

    page.locator(".face label").first.click()
    page.get_by_label("Name", exact=True).fill("Anna")
    page.get_by_role("button", name="Name", exact=True).click()

    expect(page.get_by_role("status").first).to_contain_text("1 face named Anna")
    expect(page.locator(".face")).to_have_count(count - 1)
    page.locator("#message").get_by_role("button", name="Undo").click()
    expect(page.locator(".face")).to_have_count(count)


def test_a_hostile_name_is_inert_and_readable(site: str, page: Page) -> None:
    name = '<img src=x onerror="document.title=1">'
    page.goto(f"{site}/unknown/1")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Name", exact=True).press("Enter")
    expect(page.locator("#message")).to_contain_text(name)
    page.goto(f"{site}/people")
    page.get_by_role("link", name=name).click()

    expect(page.get_by_role("heading", level=1)).to_contain_text(name)
    assert page.locator("img[src=x]").count() == 0
    shoot(page, "hostile")


@pytest.mark.parametrize(("scheme", "view"), [("light", DESKTOP), ("dark", PHONE)], ids=["desktop", "phone"])
def test_pages_are_accessible_and_fit(site: str, browser: Browser, scheme: str, view: dict[str, int]) -> None:
    context = browser.new_context(viewport=view, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(f"{site}/unknown/1")
    page.get_by_label("Name", exact=True).fill("Anna " + "x" * 190)
    page.get_by_label("Name", exact=True).press("Enter")
    expect(page.locator(".said")).to_be_visible()
    page.goto(f"{site}/people")
    person = page.locator(".card").first.get_attribute("href")
    page.goto(f"{site}{person}")
    photo = page.locator(".source").first.get_attribute("href")
    page.goto(f"{site}/unknown/2")
    page.locator(".face label").first.click()
    page.get_by_label("Name", exact=True).fill("Bea")
    page.get_by_label("Name", exact=True).press("Enter")
    expect(page.locator(".said")).to_be_visible()
    plain = (
        "/",
        "/unknown",
        "/unknown/2",
        "/unknown/999",
        "/people",
        "/questions",
        "/find",
        "/history",
        "/runs",
        "/settings",
    )
    for path in (*plain, person, photo):
        page.goto(f"{site}{path}")
        shoot(page, f"{re.sub('[^a-z0-9]+', '-', str(path))[:20].strip('-') or 'home'}-{scheme}-{view['width']}")
        found = Axe().run(page)
        assert found.violations_count == 0, (
            path,
            found.generate_snapshot(),
            found.response["violations"][0]["nodes"][:2],
        )
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    context.close()
