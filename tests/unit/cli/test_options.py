import pytest

from faceindex.cli.options import counted, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("photo.jpg", "photo.jpg"),
        ("a\x1b[31mred.jpg", "a\\x1b[31mred.jpg"),
        ("a\nb", "a\\x0ab"),
        ("evil\u202egpj.exe", "evil\\x202egpj.exe"),
        ("[bold]x[/bold]", "\\[bold]x\\[/bold]"),
    ],
)
def test_a_file_name_cannot_change_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("count", "noun", "text"), [(1, "photo", "1 photo"), (2000, "photo", "2,000 photos"), (0, "copy", "0 copies")]
)
def test_counts_agree_with_their_nouns(count: int, noun: str, text: str) -> None:
    assert counted(count, noun) == text
