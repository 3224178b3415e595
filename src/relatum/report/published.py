"""What papers and their code print, as data: read from ``published.toml`` beside this file."""

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

TEACHER = "teacher"
"""What a teacher's own accuracy is filed under; the student alone is ``"none"``."""


@dataclass(frozen=True, slots=True)
class Published:
    """One printed number, and what is known of how it came about.

    Attributes:
        dataset: on whose test images.
        teacher: a network of ``relatum list models``.
        student: likewise.
        method: as ``relatum list methods`` calls it.
        top1: in percent, as printed.
        std: over runs, where it is printed.
        epoch: which was reported; ``"best"`` is by the test images.
        runs: how many it is the mean of; ``None`` where nobody says.
        unsure: which of ``"epoch"``, ``"runs"`` and ``"values"`` is inferred or second-hand.
        source: where it is printed.
        at: the address of that.
        note: what a reader must know of it.
        other: in what it differs from the benchmark's terms, so that it is no competitor of
            numbers that keep to them; empty for nothing.
        begun: the set that the student was distilled on, where a linear classifier on its frozen
            embedding was then trained on ``dataset``; empty where it learnt that one itself.
    """

    dataset: str
    teacher: str
    student: str
    method: str
    top1: float
    std: float | None
    epoch: Literal["last", "best", "unknown"]
    runs: int | None
    unsure: frozenset[str]
    source: str
    at: str
    note: str = ""
    other: str = ""
    begun: str = ""

    @property
    def told(self) -> str:
        """How it was chosen and averaged, ``"?"`` after what is inferred or not said.

        Example:
            >>> lookup("cifar100", "resnet56", "resnet20", "rrd-2024")[0].told
            'best?, n = 1?'
        """
        epoch: str = "epoch ?" if self.epoch == "unknown" else self.epoch
        epoch += "?" if "epoch" in self.unsure else ""
        runs = "?" if self.runs is None else str(self.runs)
        return f"{epoch}, n = {runs}{'?' if 'runs' in self.unsure else ''}"


@cache
def published() -> tuple[Published, ...]:
    """All numbers of the file, in its order."""
    text = files("relatum.report").joinpath("published.toml").read_text(encoding="utf-8")
    return tuple(each for table in tomllib.loads(text)["table"] for each in _cells(table))


def lookup(
    dataset: str, teacher: str, student: str, method: str, *, begun: str = ""
) -> tuple[Published, ...]:
    """All that is printed for one cell, what a report shows first; empty where there is nothing.

    Args:
        dataset: on whose test images.
        teacher: a network's name.
        student: likewise.
        method: a method's name, ``"teacher"``, or ``"none"`` for the student alone.
        begun: for transfer, the set that the student was distilled on.

    Example:
        >>> [each.top1 for each in lookup("cifar100", "vgg13", "vgg8", "sp")]
        [72.68, 73.44]
    """
    return _by_cell().get((dataset, teacher, student, method, begun), ())


@cache
def _by_cell() -> Mapping[tuple[str, ...], tuple[Published, ...]]:
    held: dict[tuple[str, ...], tuple[Published, ...]] = {}
    for each in published():
        key = (each.dataset, each.teacher, each.student, each.method, each.begun)
        held[key] = (*held.get(key, ()), each)
    return held


def _cells(table: Mapping[str, Any]) -> Iterator[Published]:
    pairs = [pair.split(":") for pair in table["pairs"]]
    for method, values in table["top1"].items():
        stds = table.get("std", {}).get(method, [None] * len(pairs))
        for (teacher, student), top1, std in zip(pairs, values, stds, strict=True):
            if not math.isnan(top1):
                yield Published(
                    dataset=table["dataset"],
                    teacher=teacher,
                    student=student,
                    method=method,
                    top1=top1,
                    std=std,
                    epoch=table["epoch"],
                    runs=table["runs"] or None,
                    unsure=frozenset(table.get("unsure", ())),
                    source=table["source"],
                    at=table["at"],
                    note=table.get("note", ""),
                    other=table.get("other", ""),
                    begun=table.get("begun", ""),
                )
