"""A pair's methods as dots with intervals, in bands of those that share a rank."""

from collections.abc import Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relatum.report.canvas import ALONE, INK, METHODS, Picture, clipped, drawing, picture
from relatum.report.spread import Spread
from relatum.report.standing import Standing
from relatum.report.standings import PairStandings, Standings
from relatum.report.words import between, number

WIDTH, ROW = 6.0, 0.26
"""Inches, of the picture and of a method in it."""
BETTER, WORSE = METHODS[0], METHODS[1]
LOOKS = {"better": (BETTER, "^"), "worse": (WORSE, "v"), "neither": (INK, "o")}
"""Colour and marker by what the test shows."""
BAND = "#eef2f6"


def dots(found: Standings, pair: PairStandings) -> Picture | None:
    """Means, seeds and intervals of a pair's methods; ``None`` where nothing was measured.

    The bar of a method is Dunnett's interval of its difference to the baseline, drawn from the
    baseline's mean: where it crosses the baseline's line, the seeds show no difference.
    """
    name = found.metric.name
    rows = [(each, spread) for each in pair.methods if (spread := each.spread(name))]
    if not rows:
        return None
    baseline = pair.of(found.baseline)
    level = baseline.spread(name) if baseline else None
    with drawing():
        figure = Figure(figsize=(WIDTH, 1.1 + ROW * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        axes.set_ylim(len(rows) - 0.4, -0.6)
        _bands(axes, [each for each, _ in rows])
        if level is not None:
            axes.axvline(level.mean, color=ALONE, linewidth=1.2, zorder=1)
        spoken = [_row(found, axes, row, *each, level) for row, each in enumerate(rows)]
        axes.set_yticks(range(len(rows)), [clipped(each.title) for each, _ in rows])
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(found.metric.heading)
        return picture(figure, f"{pair.title}, {'; '.join(spoken)}.", _caption(found, pair))


def _bands(axes: Axes, methods: Sequence[Standing]) -> None:
    """Shade every second rank, and say it at the right."""
    first = 0
    for turn, (rank, group) in enumerate(groupby(methods, key=lambda each: each.rank)):
        count = len(list(group))
        if turn % 2 == 0:
            axes.axhspan(first - 0.5, first + count - 0.5, color=BAND, linewidth=0, zorder=0)
        text = f"rank {rank}" if rank else "no rank"
        axes.text(
            1.01,
            first + (count - 1) / 2,
            text,
            transform=axes.get_yaxis_transform(),
            va="center",
            weight="bold" if rank == 1 else "normal",
            color=INK if rank else ALONE,
        )
        first += count


def _row(
    found: Standings,
    axes: Axes,
    row: int,
    method: Standing,
    spread: Spread,
    level: Spread | None,
) -> str:
    """Draw one method, and say it."""
    gap = method.line.difference if method.line else None
    shown = "neither"
    if gap is not None and gap.clear:
        shown = "better" if (gap.mean > 0) == found.metric.higher else "worse"
    colour, marker = LOOKS[shown]
    if method.label == found.baseline:
        colour, marker = ALONE, "D"
    if gap is not None and gap.interval is not None and level is not None:
        ends = [level.mean + end for end in gap.interval]
        axes.plot(ends, [row, row], color=colour, linewidth=4, alpha=0.35, solid_capstyle="butt")
    axes.scatter(spread.values, [row] * spread.n, s=7, color=colour, linewidths=0, zorder=2.5)
    axes.scatter(
        [spread.mean], [row], s=52, color=colour, marker=marker, edgecolors="white", zorder=3
    )
    if (printed := method.published) is not None and comparable(found) and not printed.other:
        axes.scatter([printed.top1], [row], s=95, facecolors="none", edgecolors=ALONE, marker="s")
    said = f"{method.title} {number(spread.mean, found.metric.digits)}"
    if method.rank:
        said += f", rank {method.rank}"
    if gap is not None and gap.interval is not None:
        said += f", {between(gap.interval, found.metric.digits)} above {found.beside}"
    return said


def comparable(found: Standings) -> bool:
    """Whether a table keeps to the protocol of published numbers."""
    return found.metric.name == "top1" and not found.protocol.departures


def _caption(found: Standings, pair: PairStandings) -> str:
    parts = [f"{found.metric.heading} after the last epoch. Small dots: single seeds."]
    if pair.smallest is not None:
        parts.append(
            f"Bars: 95 % interval of the difference to {found.beside}, laid at its mean (line);"
            " where one crosses the line, the seeds show no difference. Triangles: better or"
            " worse beyond chance. Bands: methods of one rank."
        )
    if comparable(found) and any(
        each.published and not each.published.other for each in pair.methods
    ):
        parts.append("Squares: published.")
    return " ".join(parts)
