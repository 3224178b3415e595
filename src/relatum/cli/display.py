"""How far a run is: bars on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from relatum import together
from relatum.cli.reading import PLAIN_EVERY, among
from relatum.how_far import heard_by
from relatum.record import Record, Row
from relatum.run import Display, Silent


@contextmanager
def shown(runs: int) -> Iterator[Display]:
    """A display for so many runs; of several processes the first one has it."""
    if not together.first():
        yield Silent()
        return
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with (
            Progress(*columns, console=console, transient=True) as progress,
            heard_by(among(progress)),
        ):
            yield Bars(progress, runs)
    else:
        yield Lines(runs)


class Bars:
    """One bar for all runs, one for the steps of the present one."""

    def __init__(self, progress: Progress, runs: int) -> None:
        self._progress = progress
        self._runs = progress.add_task("runs", total=runs) if runs > 1 else None
        self._steps: TaskID | None = None
        self._label = ""
        self._noted: set[str] = set()

    def begin(self, label: str, steps: int, done: int) -> None:
        """A new bar."""
        if self._steps is not None:
            self._progress.remove_task(self._steps)
        self._label = label
        self._steps = self._progress.add_task(label, total=steps, completed=done)

    def advance(self) -> None:
        """One step on."""
        if self._steps is not None:
            self._progress.advance(self._steps)

    def epoch(self, row: Row, epochs: int) -> None:
        """What was measured on the validation part, beside the bar."""
        if self._steps is not None and (found := validated(row)):
            self._progress.update(self._steps, description=f"{self._label} {', '.join(found[:2])}")

    def note(self, text: str) -> None:
        """A line above the bars; what was noted of one run is not said again of the next."""
        if text not in self._noted:
            self._noted.add(text)
            self._print(text)

    def _print(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)

    def end(self, record: Record) -> None:
        """The run's line, and one more run done."""
        self._print(line_of(record))
        if self._runs is not None:
            self._progress.advance(self._runs)


class Lines:
    """A line for every run that ends, and now and then one about a long run."""

    def __init__(self, runs: int) -> None:
        self._runs, self._done = runs, 0
        self._label, self._said = "", monotonic()
        self._noted: set[str] = set()

    def begin(self, label: str, steps: int, done: int) -> None:
        """Remember its name."""
        self._label, self._said = label, monotonic()

    def advance(self) -> None:
        """Nothing: steps are too many for lines."""

    def epoch(self, row: Row, epochs: int) -> None:
        """Now and then a line."""
        if monotonic() - self._said > PLAIN_EVERY:
            self._said = monotonic()
            losses = " ".join(f"{name} {value:.4g}" for name, value in row.losses.items())
            said = ", ".join([f"epoch {row.epoch} of {epochs}", losses, *validated(row)])
            self._print(f"{self._label}: {said}")

    def note(self, text: str) -> None:
        """A line; what was noted of one run is not said again of the next."""
        if text not in self._noted:
            self._noted.add(text)
            self._print(text)

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def end(self, record: Record) -> None:
        """The run's line."""
        self._done += 1
        count = f"[{self._done}/{self._runs}] " if self._runs > 1 else ""
        self._print(f"{count}{line_of(record)}")


def validated(row: Row) -> list[str]:
    """What an epoch was measured to reach on the validation part, a few words for each."""
    words = {
        **{"top1": "top-1", "knn": "k-NN", "probe": "probe", "map": "mAP"},
        **{"neighbours": "neighbours", "agreement": "agreement", "gap_cosine": "gap"},
    }
    found = {word: row.metrics.get(f"validation_{name}") for name, word in words.items()}
    return [
        f"{word} {value:.3f}" if word == "gap" else f"{word} {value:.1f} %"
        for word, value in found.items()
        if value is not None
    ]


def line_of(record: Record) -> str:
    """What became of a run, on one line."""
    found = record.metrics
    names = {"top1": "top-1", "probe": "probe", "knn": "k-NN", "reconstruction": "reconstruction"}
    values = [
        f"{word} {found[name]:.4f}" if name == "reconstruction" else f"{word} {found[name]:.2f} %"
        for name, word in names.items()
        if name in found
    ]
    values = values or [f"{name} {value:.4g}" for name, value in list(found.items())[:1]]
    said = ", ".join(values) or "done"
    return f"{record.label} (seed {record.recipe.seed}): {said}, {record.seconds:.1f} s"
