"""What all pictures of a report have in common.

They are drawn on white, in colours that stay apart for the colour-blind (Okabe and Ito, 2008),
each with a marker of its own and named where it ends, and every picture comes with its text.
"""

import base64
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relatum.report.table import Summary

INK, FAINT = "#1f2328", "#d0d7de"
ALONE = "#6e7781"
METHODS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255")
MARKERS = "s^DvPX"
NAME_INCHES = 0.18
"""From one name to the next below it."""
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    # A label is a user's text: dollars in it are no formula.
    "text.parse_math": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eaeef2",
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "svg.hashsalt": "relatum",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that stands in a page by itself.

    Attributes:
        source: a ``data:`` address.
        alt: what it shows, for those who do not see it.
        caption: what everybody reads below it.
        width: in CSS pixels.
        height: in CSS pixels.
    """

    source: str
    alt: str
    caption: str
    width: int
    height: int


@contextmanager
def drawing() -> Iterator[None]:
    """Our style and not the user's, for as long as a figure is made and written."""
    with style.context(STYLE, after_reset=True):
        yield


def picture(figure: Figure, alt: str, caption: str = "", *, vector: bool = True) -> Picture:
    """Write a figure as SVG, or as PNG at twice its size on the page."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if vector else {"Software": None}
    with warnings.catch_warnings():
        # The font has no letters of some scripts; the page's table and texts still have them.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(buffer, format="svg" if vector else "png", dpi=192, metadata=metadata)
    content = base64.b64encode(buffer.getvalue()).decode("ascii")
    source = f"data:image/{'svg+xml' if vector else 'png'};base64,{content}"
    width, height = (round(96 * each) for each in figure.get_size_inches())
    return Picture(source, alt, caption, width, height)


def looks_of(summary: Summary) -> dict[str, tuple[str, str]]:
    """The colour and the marker of every line, by title, the same in all pictures."""
    looks, methods = dict[str, tuple[str, str]](), 0
    for line in summary.lines:
        if line.kind == "method":
            colour = METHODS[methods % len(METHODS)]
            looks[line.title] = colour, MARKERS[methods % len(MARKERS)]
            methods += 1
        else:
            looks[line.title] = (INK, "*") if line.kind == "teacher" else (ALONE, "o")
    return looks


def name(
    axes: Axes,
    names: Sequence[str],
    points: Sequence[tuple[float, float]],
    at: float,
    inches: float,
) -> None:
    """Name points in a column, as near to their heights as there is room, with lines back.

    Args:
        axes: with its limits set.
        names: a name for each point.
        points: where they are, in the units of the axes.
        at: where the column begins, as a fraction of the axes' width.
        inches: how high the figure is.
    """
    gap = NAME_INCHES / (inches - 0.8)  # of which titles and ticks take about so much
    to_fraction = axes.transScale + axes.transLimits
    heights = [float(to_fraction.transform(point)[1]) for point in points]
    for text, point, height in zip(names, points, apart(heights, gap), strict=True):
        axes.annotate(
            clipped(text),
            point,
            (at, height),
            textcoords="axes fraction",
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "#8c959f", "linewidth": 0.6, "shrinkB": 4},
        )


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Heights in [0, 1], moved as little as needed to be ``gap`` apart, in the same order.

    Neighbours that are too close become a block around their common mean, until none are. A
    block stays above 0 and, where there is room, below 1.

    Example:
        >>> [round(each, 3) for each in apart([0.5, 0.5, 0.9], 0.1)]
        [0.45, 0.55, 0.9]
        >>> [round(each, 3) for each in apart([0.0, 0.0], 0.1)]
        [0.0, 0.1]
    """
    blocks = list[list[int]]()
    for index in sorted(range(len(heights)), key=lambda index: heights[index]):
        blocks.append([index])
        while len(blocks) > 1 and (
            _foot(blocks[-1], heights, gap)
            < _foot(blocks[-2], heights, gap) + gap * len(blocks[-2])
        ):
            last = blocks.pop()
            blocks[-1] += last
    places = [0.0] * len(heights)
    for block in blocks:
        for rank, index in enumerate(block):
            places[index] = _foot(block, heights, gap) + gap * rank
    return places


def _foot(block: Sequence[int], heights: Sequence[float], gap: float) -> float:
    """Where the lowest of a block stands."""
    middle = sum(heights[index] for index in block) / len(block)
    rise = gap * (len(block) - 1)
    return max(0.0, min(middle - rise / 2, 1.0 - rise))


def clipped(text: str, length: int = 22) -> str:
    """A user's text, short enough to stand in a picture."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= length else f"{line[: length - 1]}…"
