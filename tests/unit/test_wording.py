import pytest

from faceindex.wording import percent, visible


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain é 中.jpg", "plain é 中.jpg"),
        ("gpj\u202eexe.jpg", "gpj\\x202eexe.jpg"),
        ("a\x1b[31m\nb", "a\\x1b[31m\\x0ab"),
        ("not-utf-8-\udcff", "not-utf-8-\\xdcff"),
    ],
)
def test_what_does_not_print_in_a_name_is_shown_as_its_code(name: str, shown: str) -> None:
    assert visible(name) == shown


@pytest.mark.parametrize(
    ("probability", "text"),
    [(None, "-"), (1.0, ">99.9%"), (0.0, "<0.1%"), (0.5, "50.0%"), (0.999, "99.9%"), (0.9991, ">99.9%")],
)
def test_nothing_is_shown_as_certain(probability: float | None, text: str) -> None:
    assert percent(probability) == text
