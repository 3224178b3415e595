"""How training went: what was measured after every epoch, one picture for each thing."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from relatum.record import GRADIENT_NORM, WATCHED, Record, Row
from relatum.report.canvas import (
    MARKERS,
    METHODS,
    NAME_INCHES,
    Picture,
    drawing,
    looks_of,
    name,
    picture,
)
from relatum.report.rows import Line
from relatum.report.table import METRICS, Metric, Summary

Curves = NDArray[np.float64]
"""A row for each run, a column for each epoch; not a number where nothing was measured."""


def course(summary: Summary) -> list[Picture]:
    """What was watched and validated over the epochs or, where nothing was, every term's loss.

    A curve is the mean over seeds, in a band of one sample standard deviation. Norms of gradients
    have a picture for each method, with a curve for each term.
    """
    lines = [line for line in summary.students or summary.lines if line.runs]
    rows = [row for line in lines for run in line.runs for row in run.rows]
    names = _measured(rows, lines, summary.primary)
    kind = "metrics" if names else "losses"
    names = names or list(dict.fromkeys(each for row in rows for each in row.losses))
    looks, pictures = looks_of(summary), list[Picture]()
    for each in names:
        every = {line.title: _curves(line.runs, kind, each) for line in lines}
        curves = {title: values for title, values in every.items() if np.isfinite(values).any()}
        if curves:
            title = _title(each) if kind == "metrics" else f"loss: {each}"
            pictures.append(_drawn(title, curves, looks))
    return [*pictures, *(drawn for line in lines for drawn in _norms(line))]


def _measured(rows: Sequence[Row], lines: Sequence[Line], primary: Metric | None) -> list[str]:
    """Names in a row's metrics: the primary one, what was watched, or else any."""
    names = (each for row in rows for each in row.metrics)
    held = list(dict.fromkeys(each for each in names if not each.startswith(GRADIENT_NORM)))
    asked = [each for line in lines for run in line.runs for each in run.recipe.watch]
    wanted = [primary.name] if primary else []
    wanted += [metric for name, metric in WATCHED.items() if name in asked]
    there = [f"validation_{name}" for name in dict.fromkeys(wanted)]
    return [each for each in there if each in held] or held[:1]


def _title(name: str) -> str:
    metric = name.removeprefix("validation_")
    known = next((each for each in METRICS if each.name == metric), None)
    if known is None or known.name == "top1":
        return name.replace("_", " ")
    return f"validation {known.title}{'' if known.higher else ', less is better'}"


def _norms(line: Line) -> list[Picture]:
    """How hard each of a method's terms pulled, at the first step of every epoch."""
    rows = [row for run in line.runs for row in run.rows]
    names = (each for row in rows for each in row.metrics if each.startswith(GRADIENT_NORM))
    curves = {
        name.removeprefix(GRADIENT_NORM): _curves(line.runs, "metrics", name)
        for name in dict.fromkeys(names)
    }
    curves = {term: values for term, values in curves.items() if np.isfinite(values).any()}
    if not curves:
        return []
    looks = {
        term: (METHODS[place % len(METHODS)], MARKERS[place % len(MARKERS)])
        for place, term in enumerate(curves)
    }
    return [_drawn(f"{line.title}: norm of each term's gradient", curves, looks)]


def _curves(runs: Sequence[Record], kind: str, which: str) -> Curves:
    length = max(len(run.rows) for run in runs)
    values = np.full((len(runs), length), np.nan)
    for number, run in enumerate(runs):
        for when, row in enumerate(run.rows):
            held: Mapping[str, float] = row.metrics if kind == "metrics" else row.losses
            values[number, when] = held.get(which, np.nan)
    return values


def _drawn(
    title: str, curves: Mapping[str, Curves], looks: Mapping[str, tuple[str, str]]
) -> Picture:
    spoken, ends = list[str](), list[tuple[float, float]]()
    with drawing():
        height = max(2.8, 1.1 + 1.2 * NAME_INCHES * len(curves))
        figure = Figure(figsize=(4.8, height), layout="constrained")
        axes = figure.add_subplot()
        for label, values in curves.items():
            epochs, mean, std = _band(values)
            colour, marker = looks[label]
            step = max(1, len(epochs) // 6)
            axes.plot(epochs, mean, color=colour, marker=marker, markersize=4, markevery=step)
            axes.fill_between(epochs, mean - std, mean + std, color=colour, alpha=0.15, lw=0)
            ends.append((float(epochs[-1]), float(mean[-1])))
            spoken.append(f"{label} from {mean[0]:.3g} to {mean[-1]:.3g}")
        if _wide(list(curves.values())):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlim(*axes.get_xlim())
        axes.set_ylim(*axes.get_ylim())
        name(axes, list(curves), ends, 1.03, height)
        return picture(figure, f"{title}, over the epochs: {'; '.join(spoken)}.", title)


def _band(values: Curves) -> tuple[Curves, Curves, Curves]:
    """Epochs where anything was measured, with mean and standard deviation over the runs."""
    there = np.isfinite(values).any(axis=0)
    held = values[:, there]
    counts = np.isfinite(held).sum(axis=0)
    mean: Curves = np.nanmean(held, axis=0)
    squares = np.nansum((held - mean) ** 2, axis=0)
    std: Curves = np.sqrt(squares / np.maximum(counts - 1, 1))
    return np.flatnonzero(there).astype(np.float64) + 1, mean, std


def _wide(curves: Sequence[Curves]) -> bool:
    """Whether all is above zero, and the largest hides the smallest."""
    held = np.concatenate([values[np.isfinite(values)] for values in curves])
    return bool(held.min() > 0 and held.max() / held.min() > 5)
