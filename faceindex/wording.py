"""How names and figures are shown to people, on a terminal as on a page."""


def visible(text: str) -> str:
    """Return text with control characters, direction marks and undecodable bytes as their codes.

    Names of files and people are somebody else's text: they must not change what stands around them.
    """
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


def percent(probability: float | None) -> str:
    """Return a probability to a tenth of a percent, and never more certain than that."""
    if probability is None:
        return "-"
    return ">99.9%" if probability > 0.999 else "<0.1%" if probability < 0.001 else f"{probability:.1%}"
