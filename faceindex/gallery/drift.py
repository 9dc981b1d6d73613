"""Tells when an index has to be trained anew, because the gallery is no longer what it was trained for.

Each publish measures the quantisation error over the whole gallery and the imbalance of its lists, and compares them
with those at training. So new faces weigh as much as there are of them: a few of a kind never seen before do not cost a
training every night, and many of them do not go unnoticed.
"""

from faceindex.types import IndexQuality

MOST_GROWTH = 4
"""Times as many faces as at training, when lists have become long."""

MOST_ERROR = 1.1
"""Times the quantisation error at training."""

MOST_IMBALANCE = 2.0
"""Times the imbalance of lists at training: searches visit so many more faces."""


def drifted(quality: IndexQuality, trained_count: int, live_count: int) -> str | None:
    """Return why an index has to be trained anew; None when it need not be.

    Args:
        quality: of the gallery as it was last published.
        trained_count: faces there were at training.
        live_count: faces there are now.
    """
    if live_count > MOST_GROWTH * trained_count:
        return f"{live_count:,} faces, {trained_count:,} when the index was trained"
    if quality.quantisation_error > MOST_ERROR * quality.trained_error:
        return f"quantisation error {quality.quantisation_error:.4g}, {quality.trained_error:.4g} at training"
    if quality.imbalance > MOST_IMBALANCE * quality.trained_imbalance:
        return f"imbalance of lists {quality.imbalance:.2f}, {quality.trained_imbalance:.2f} at training"
    return None
