"""Curves of an assessment, drawn by matplotlib: nothing is drawn where fewer than ten pairs of people were counted."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from faceindex.evaluation.assessment import RANKS, Assessment
from faceindex.evaluation.intervals import Estimate
from faceindex.evaluation.open_set import MEASURED_PAIRS
from faceindex.evaluation.scores import EDGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Format = Literal["png", "svg"]
Colour = str | tuple[float, float, float, float]

INCHES = (5.6, 4.2)
BLUE, ORANGE, GREY = "#1f5fa8", "#d1711f", "#7d848c"
BESIDE = 1.06
HISTOGRAM_BINS = 120
COVERED = 1e-4
"""Share of the scores on either side that a histogram leaves out."""


def plots_of(found: Assessment) -> dict[str, Callable[["Axes"], None]]:
    """Return by name what draws each plot that there is data for."""
    plots: dict[str, Callable[[Axes], None]] = {"scores": lambda axes: _scores(axes, found)}
    if len(_det_curve(found)[0]):
        plots["det"] = lambda axes: _det(axes, found)
        plots["roc"] = lambda axes: _roc(axes, found)
    if found.identification:
        plots["identification"] = lambda axes: _identification(axes, found)
        plots["cmc"] = lambda axes: _ranks(axes, found)
    if found.probabilities:
        plots["reliability"] = lambda axes: _reliability(axes, found)
    return plots


def drawn(draw: Callable[["Axes"], None], kind: Format) -> bytes:
    """Return a plot as the bytes of a PNG or SVG file; the same data gives the same bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "faceindex", "font.size": 9}):
        figure = Figure(INCHES, dpi=150, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(alpha=0.3, linewidth=0.5)
        draw(axes)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
        file = io.BytesIO()
        figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return file.getvalue()


def _det(axes: "Axes", found: Assessment) -> None:
    axes.loglog(*_det_curve(found), color=BLUE, label="counted")
    points = [(point.fmr.value, point.tar.complement()) for point in found.verification]
    _with_intervals(axes, points, BLUE)
    rate = found.equal_error_rate.value
    if rate > 0:
        axes.loglog([rate], [rate], "o", color=ORANGE, label=f"equal error rate {rate:.2%}")
    axes.set(xlabel="false match rate", ylabel="false non-match rate", title="1:1 error rates (DET), 95 % intervals")
    _in_percent(axes.xaxis)
    _in_percent(axes.yaxis, 1, 2, 5)


def _roc(axes: "Axes", found: Assessment) -> None:
    fmr, fnmr = _det_curve(found)
    axes.semilogx(fmr, 1 - fnmr, color=BLUE)
    _with_intervals(axes, [(point.fmr.value, point.tar) for point in found.verification], BLUE)
    axes.set(xlabel="false accept rate", ylabel="true accept rate", title="The same as ROC, 95 % intervals")
    _in_percent(axes.xaxis)
    _in_percent(axes.yaxis)


def _det_curve(found: Assessment) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return FMR and FNMR; below one of the people with two faces, FNMR would be a matter of single photos."""
    scores = found.scores
    least = (MEASURED_PAIRS / scores.person_pair_count, 1 / scores.mated_subject_count)
    return _corners(scores.fmr, scores.fnmr, *least)


def _scores(axes: "Axes", found: Assessment) -> None:
    scores = found.scores
    both = np.cumsum(scores.mated + scores.nonmated) / 2
    low, high = EDGES[np.searchsorted(both, COVERED)], EDGES[np.searchsorted(both, 1 - COVERED) + 1]
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    centres = (EDGES[1:] + EDGES[:-1]) / 2
    for shares, name, colour in ((scores.nonmated, "two people", GREY), (scores.mated, "one person", BLUE)):
        heights = np.histogram(centres, edges, weights=shares)[0] / np.diff(edges)
        axes.stairs(heights, edges, fill=True, alpha=0.55, color=colour, label=name)
    for point in found.verification:
        axes.axvline(point.threshold, color=ORANGE, linewidth=0.8)
        name = f" FMR {100 * point.asked:g} %"
        axes.text(point.threshold, 0.98, name, rotation=90, va="top", fontsize=6, transform=axes.get_xaxis_transform())
    axes.set_ylim(top=1.2 * axes.get_ylim()[1])  # room for the names
    axes.set(xlabel="cosine similarity", ylabel="density", title="Similarities, each person counted once")


def _identification(axes: "Axes", found: Assessment) -> None:
    sizes = len(found.identification)
    for place, (one, shade) in enumerate(zip(found.identification, _shades(sizes), strict=True)):
        axes.loglog(*_corners(one.fpir, one.fnir), color=shade, label=f"N = {one.gallery_size:,}")
        # Side by side, as the intervals of two sizes overlap.
        aside = BESIDE ** (place - (sizes - 1) / 2)
        points = [(point.fpir.value * aside, point.dir.complement()) for point in one.points if point.measured]
        _with_intervals(axes, points, shade)
    axes.set(
        xlabel="false positive identification rate",
        ylabel="false negative identification rate (rank 1)",
        title="Open set searches by gallery size, 95 % intervals",
    )
    _in_percent(axes.xaxis)
    _in_percent(axes.yaxis, 1, 2, 5)


def _ranks(axes: "Axes", found: Assessment) -> None:
    for one, shade in zip(found.identification, _shades(len(found.identification)), strict=True):
        ranks = np.arange(1, len(one.ranks) + 1)
        axes.plot(ranks, [rate.value for rate in one.ranks], ".-", color=shade, label=f"N = {one.gallery_size:,}")
    axes.set(xlabel="rank", ylabel="found at this rank or better", title="Closed set (CMC)")
    axes.set_xticks([1, *range(5, RANKS + 1, 5)])
    _in_percent(axes.yaxis)


def _reliability(axes: "Axes", found: Assessment) -> None:
    assert found.probabilities is not None
    bins = found.probabilities.reliability.bins
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    predicted, observed = np.array([(one.predicted, one.observed) for one in bins]).T
    axes.plot(predicted, observed, color=BLUE, linewidth=0.8)
    axes.scatter(predicted, observed, s=[10 + 300 * one.share for one in bins], color=BLUE, alpha=0.6)
    axes.set(
        xlabel="probability said",
        ylabel="share that was right",
        title=f"First candidates, N = {found.probabilities.gallery_size:,}; area: share of answers",
    )
    _in_percent(axes.xaxis)
    _in_percent(axes.yaxis)


def _in_percent(axis: "Axis", *steps: int) -> None:
    """Write an axis in percent; a logarithmic one is marked at these multiples of each power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if steps:
        axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:.6g} %"))
    axis.set_minor_formatter(NullFormatter())


def _with_intervals(axes: "Axes", points: list[tuple[float, Estimate]], colour: Colour) -> None:
    """Draw the intervals of FNMR or FNIR as bars."""
    for x, rate in points:
        axes.plot([x, x], [max(rate.low, 1e-6), rate.high], color=colour, linewidth=2.5, alpha=0.4)


def _corners(
    falling: NDArray[np.float64], rising: NDArray[np.float64], least_falling: float = 0.0, least_rising: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the points of a curve that differ, where both rates are above zero and not below these."""
    inside = (falling >= least_falling) & (rising >= least_rising)
    kept = np.flatnonzero(inside & (falling > 0) & (falling < 1) & (rising > 0))
    # A step of 0.5 % is less than a line is wide.
    seen = np.round(np.log(np.column_stack([falling[kept], rising[kept]])) / 0.005)
    _, first = np.unique(seen, axis=0, return_index=True)
    kept = kept[np.sort(first)]
    return falling[kept], rising[kept]


def _shades(count: int) -> list[tuple[float, float, float, float]]:
    import matplotlib as mpl

    return [mpl.colormaps["viridis"](place) for place in np.linspace(0.0, 0.85, count)]
