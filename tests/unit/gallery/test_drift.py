import pytest

from faceindex.gallery.drift import drifted
from faceindex.types import IndexQuality


def quality(error: float, imbalance: float) -> IndexQuality:
    return IndexQuality(256, 0.97, 0.99, 1.0, 0.1, 1.0, 1, 1, imbalance, error, 1000, 1.3, 0.2)


@pytest.mark.parametrize(
    ("error", "imbalance", "faces", "why"),
    [
        (0.2, 1.3, 1000, None),
        (0.219, 2.5, 4000, None),
        (0.221, 1.3, 1000, "quantisation error"),
        (0.2, 2.7, 1000, "imbalance"),
        (0.2, 1.3, 4001, "4,001 faces, 1,000 when"),
    ],
)
def test_an_index_is_trained_anew_when_the_gallery_is_no_longer_what_it_was_trained_for(
    error: float, imbalance: float, faces: int, why: str | None
):
    found = drifted(quality(error, imbalance), 1000, faces)

    assert (found is None) if why is None else (why in str(found))
