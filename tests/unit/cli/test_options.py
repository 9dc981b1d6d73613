import click
import pytest

from faceindex.cli.options import Bytes, FaceSide, counted, printable


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


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GiB", 2 << 30),
        ("2gib", 2 << 30),
        ("2Gi", 2 << 30),
        ("2G", 2 * 10**9),
        ("2 GB", 2 * 10**9),
        (" 500MB ", 500 * 10**6),
        ("1.5g", 1_500_000_000),
        ("0.5GiB", 1 << 29),
        ("64MiB", 64 << 20),
        ("1T", 10**12),
        ("70000k", 70_000_000),
        ("68000KiB", 68_000 << 10),
        ("67108864", 1 << 26),
        ("67108864b", 1 << 26),
    ],
)
def test_sizes_of_memory_are_written_in_all_usual_ways(text: str, size: int) -> None:
    assert Bytes().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "much", "-2G", "2 2G", "2GiBiB", "2i", "2X", "1e9", "G", "2,5G", "nan", "٢G"])
def test_what_is_no_size_of_memory_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter) as error:
        Bytes().convert(text, None, None)

    assert error.value.message == f"must be a size such as 500MB or 2GiB, got {text!r}"


@pytest.mark.parametrize("text", ["0", "63MiB", "64MB", "1000"])
def test_too_little_memory_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter) as error:
        Bytes().convert(text, None, None)

    assert error.value.message == f"must be at least 64 MiB, got {text!r}"


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("40", 40.0),
        ("40px", 40.0),
        ("40 PX", 40.0),
        ("12", 12.0),
        ("40.0", 40.0),
        ("4%", 0.04),
        ("4.5 %", 0.045),
        ("0.5%", 0.005),
        ("99%", 0.99),
    ],
)
def test_smallest_faces_are_pixels_or_a_share(text: str, side: float) -> None:
    assert FaceSide().convert(text, None, None) == pytest.approx(side, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["", "small", "11", "0", "-40", "40.5", "0.04", "0%", "100%", "4%px", "40 px px", "4e1"]
)
def test_other_smallest_faces_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter) as error:
        FaceSide().convert(text, None, None)

    wanted = "must be whole pixels from 12 on (40) or a share of the photo's short side (4%)"
    assert error.value.message == f"{wanted}, got {text!r}"
