"""What a network's size buys, and what its teacher adds: two pictures of the primary metric."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relatum.report.canvas import (
    ALONE,
    NAME_INCHES,
    Picture,
    clipped,
    drawing,
    looks_of,
    name,
    picture,
)
from relatum.report.rows import Line
from relatum.report.table import Metric, Summary
from relatum.report.words import between, short, signed

WIDTH = 5.0
"""Inches."""


def size_and_quality(summary: Summary) -> Picture | None:
    """The primary metric against the number of parameters; ``None`` for less than two networks.

    Bars are one sample standard deviation, small dots the seeds. Networks of one size stand
    side by side, in the table's order.
    """
    metric = summary.primary
    lines = [line for line in summary.lines if metric and metric.name in line.metrics]
    if metric is None or len(lines) < 2:  # a point by itself says less than the table
        return None
    looks = looks_of(summary)
    with drawing():
        height = _height(len(lines))
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        places = _places(lines)
        for line, place in zip(lines, places, strict=True):
            _point(axes, line, metric, place, looks[line.title])
        axes.set_xlabel("parameters (logarithmic)")
        axes.set_ylabel(metric.heading)
        _across(axes, lines, places)
        _up(axes, metric)
        _names(axes, lines, places, metric, height)
        spoken = "; ".join(
            f"{line.title} {summary.value(line, metric)} with {line.parameters:,} parameters"
            for line in lines
        )
        several = any(line.n > 1 for line in lines)
        bars = "Bars: one standard deviation; small dots: single seeds. " if several else ""
        return picture(
            figure,
            f"{metric.heading} against parameters: {spoken}.",
            f"{metric.heading} against size. {bars}Networks of one size stand side by side.",
        )


def _height(lines: int) -> float:
    return max(3.2, 1.4 + 1.3 * NAME_INCHES * lines)


def _places(lines: Sequence[Line]) -> list[float]:
    """Where each line stands: at the logarithm of its size, those of one size fanned out."""
    every = [math.log10(max(line.parameters, 1)) for line in lines]
    span = max(max(every) - min(every), 0.5)
    places, seen = list[float](), dict[float, int]()
    for size in every:
        among, rank = every.count(size), seen.get(size, 0)
        seen[size] = rank + 1
        places.append(size + span * min(0.045, 0.3 / among) * (rank - (among - 1) / 2))
    return places


def _point(axes: Axes, line: Line, metric: Metric, place: float, look: tuple[str, str]) -> None:
    spread, (colour, marker) = line.metrics[metric.name], look
    if spread.std is not None:
        axes.errorbar(place, spread.mean, spread.std, color=colour, capsize=3, linewidth=1.3)
        dots = [place] * spread.n
        axes.scatter(dots, spread.values, s=9, color=colour, alpha=0.5, linewidths=0, zorder=2.5)
    area = 170 if marker == "*" else 55
    axes.scatter(
        [place], [spread.mean], s=area, color=colour, marker=marker, edgecolors="white", zorder=3
    )


def _across(axes: Axes, lines: Sequence[Line], places: Sequence[float]) -> None:
    """Limits that leave room for names at the right, and ticks at the sizes that there are."""
    span = max(max(places) - min(places), 0.5)
    axes.set_xlim(min(places) - 0.08 * span, max(places) + 0.45 * span)
    ticks = list[float]()
    for size in sorted({math.log10(max(line.parameters, 1)) for line in lines}):
        if not ticks or size - ticks[-1] > 0.12 * span:
            ticks.append(size)
    axes.set_xticks(ticks, [short(round(10**tick)) for tick in ticks])
    axes.grid(visible=False, axis="x")


def _up(axes: Axes, metric: Metric) -> None:
    """Some air, but none above what can be reached."""
    low, high = axes.get_ylim()
    air = 0.06 * (high - low)
    most = 100.0 if metric.percent else 1.0
    axes.set_ylim(low - air, min(high + air, most + air) if high <= most else high + air)


def _names(
    axes: Axes, lines: Sequence[Line], places: Sequence[float], metric: Metric, inches: float
) -> None:
    """Names stand beside the crowd that their points belong to."""
    left, right = axes.get_xlim()
    order = sorted(range(len(lines)), key=lambda index: places[index])
    crowds = list[list[int]]()
    for index in order:
        if crowds and places[index] - places[crowds[-1][-1]] < 0.3 * (right - left):
            crowds[-1].append(index)
        else:
            crowds.append([index])
    for crowd in crowds:
        points = [(places[index], lines[index].metrics[metric.name].mean) for index in crowd]
        at = (places[crowd[-1]] - left) / (right - left) + 0.04
        name(axes, [lines[index].title for index in crowd], points, at, inches)


def differences(summary: Summary) -> Picture | None:
    """How far every method lies from the baseline, with its 95 % interval.

    ``None`` where there is nothing to compare with.
    """
    metric, looks = summary.primary, looks_of(summary)
    lines = [line for line in summary.methods if line.difference is not None]
    if metric is None or not lines:
        return None
    with drawing():
        figure = Figure(figsize=(WIDTH, _height(len(lines))), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color=ALONE, linewidth=1.2)
        spoken = [_interval(axes, line, row, looks[line.title]) for row, line in enumerate(lines)]
        axes.set_yticks(range(len(lines)), [clipped(line.title) for line in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        unit = "points" if metric.percent else metric.title
        axes.set_xlabel(f"difference to {summary.beside}, {unit}")
        caption = f"{metric.title}, difference to {summary.beside}. {_about_bars(lines)}"
        return picture(
            figure, f"{metric.title} less that of {summary.beside}: {'; '.join(spoken)}.", caption
        )


def _about_bars(lines: Sequence[Line]) -> str:
    """What a bar means, and why a point has none."""
    found = [line.difference for line in lines if line.difference is not None]
    told = list[str]()
    if any(each.interval for each in found):
        told.append(
            "Bars: 95 % intervals; where one crosses the line, the seeds show no difference."
        )
    why = ["seeds over which it does not vary"] if any(each.still for each in found) else []
    if any(not each.interval and not each.still for each in found):
        why.insert(0, "too few seeds for an interval")
    if why:
        told.append(f"Points without a bar have {', or '.join(why)}.")
    return " ".join(told)


def _interval(axes: Axes, line: Line, row: int, look: tuple[str, str]) -> str:
    """Draw one method's difference, and say it."""
    found, (colour, marker) = line.difference, look
    if found is None:
        return ""
    if found.interval is not None:
        axes.plot(found.interval, [row, row], color=colour, linewidth=2.2, solid_capstyle="round")
    axes.scatter(
        [found.mean], [row], s=55, color=colour, marker=marker, edgecolors="white", zorder=3
    )
    said = f"{line.title} {signed(found.mean, 2)}"
    return said + (f", from {between(found.interval, 2)}" if found.interval else "")
