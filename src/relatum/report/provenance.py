"""Where numbers come from: what runs decided by themselves, their recipes, and their machines."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from relatum.record import Record
from relatum.report import markup
from relatum.report.measured import metric_of
from relatum.report.rows import Line
from relatum.report.table import Summary
from relatum.report.words import counted, duration, number

AGAIN = "relatum distill --recipe {}"
"""The command that repeats a run from the recipe in its folder."""
Runs = Sequence[tuple[Path, Record]]


def remarks(summary: Summary) -> str:
    """What runs decided by themselves, and the parameters that did not learn."""
    told = _by_text((line.title, note) for line in summary.lines for note in _notes(line))
    return markup.bullets(f"{', '.join(titles)}: {text}" for text, titles in told.items())


def _notes(line: Line) -> list[str]:
    notes = [note for run in line.runs for note in run.notes]
    idle = list(dict.fromkeys(name for run in line.runs for name in run.idle))
    if idle:
        shown = ", ".join(idle[:6]) + (", …" if len(idle) > 6 else "")
        notes.append(f"no term reached {counted(len(idle), 'parameter')}, not trained: {shown}")
    return notes


def _by_text(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    texts = dict[str, list[str]]()
    for title, text in pairs:
        titles = texts.setdefault(text, [])
        if title not in titles:
            titles.append(title)
    return texts


def recipes(summary: Summary) -> str:
    """In what the lines' recipes differ, and folded away what they share."""
    lines = [line for line in summary.lines if line.runs]
    fields = {line.title: _fields(line.runs) for line in lines}
    names = list(lines[0].runs[0].recipe.model_dump()) if lines else []
    different, shared = list[list[str]](), dict[str, str]()
    for name in names:
        values = [fields[line.title][name] for line in lines]
        if len(set(values)) == 1:
            shared[name] = values[0]
        else:
            different.append([name, *values])
    heads = ["field", *(line.title for line in lines)]
    return "\n".join(
        [
            markup.table(heads, different, "Where the recipes differ") if different else "",
            markup.folded("What all recipes share" if lines[1:] else "Recipe", markup.facts(shared))
            if shared
            else "",
        ]
    )


def _fields(runs: Sequence[Record]) -> dict[str, str]:
    """Every field as text, with all values that it takes over the seeds."""
    held = dict[str, list[str]]()
    for run in runs:
        for name, value in run.recipe.model_dump(mode="json").items():
            values, text = held.setdefault(name, []), _text(value)
            if text not in values:
                values.append(text)
    return {name: ", ".join(values) for name, values in held.items()}


def _text(value: Any) -> str:
    if value is None or value in ([], ""):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value) if isinstance(value, str | int) else json.dumps(value)


def environment(runs: Runs) -> str:
    """Versions and machine; where runs differ, every value that there was."""
    held = dict[str, list[str]]()
    for _, run in runs:
        for name, value in run.environment.items():
            values = held.setdefault(name, [])
            if str(value) not in values:
                values.append(str(value))
    differ = [name for name, values in held.items() if len(values) > 1]
    warning = f"The runs differ in {', '.join(differ)}: seeds are not all that varies."
    return "\n".join(
        [
            markup.paragraph(warning) if differ else "",
            markup.facts({name: " · ".join(values) for name, values in held.items()}),
        ]
    )


def every_run(folder: Path, runs: Runs) -> str:
    """A line for each run, with all that it measured."""
    names = list(dict.fromkeys(name for _, run in runs for name in run.metrics))
    heads = [
        "run",
        "label",
        "seed",
        "updates",
        "training",
        *(metric_of(name).heading for name in names),
    ]
    rows = [
        [
            _where(folder, path),
            run.label,
            str(run.recipe.seed),
            f"{run.steps:,}",
            duration(run.seconds),
            *_measured(run.metrics, names),
        ]
        for path, run in runs
    ]
    return markup.table(heads, rows, "Every run")


def _measured(metrics: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [number(metrics[name], 3) if name in metrics else "" for name in names]


def again(folder: Path, runs: Runs) -> str:
    """How to repeat every run."""
    commands = [
        AGAIN.format(shlex.quote((_reached(folder, path) / "recipe.json").as_posix()))
        for path, record in runs
        if (path / "recipe.json").exists() and not record.altered
    ]
    if not commands:
        return ""
    about = "From where the runs were started; a recipe holds all that its run depends on."
    if any(record.altered for _, record in runs):
        about += " Runs that were altered by a reproduction are only to be had from it."
    lines = markup.code("\n".join(commands))
    few = len(commands) < 5
    return markup.paragraph(about) + "\n" + (lines if few else markup.folded("Commands", lines))


def _reached(folder: Path, path: Path) -> Path:
    """A run's folder from here, or else from that of the page: never from the machine's root."""
    if not path.is_absolute():
        return path
    here = Path.cwd()
    return path.relative_to(here if path.is_relative_to(here) else folder)


def _where(folder: Path, path: Path) -> str:
    return folder.name if path == folder else path.relative_to(folder).as_posix()
