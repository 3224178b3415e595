"""What the runs kept for pictures of samples and classes, read with care."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from relatum.record import Record
from relatum.report.table import Summary

NAME = "pictures.safetensors"
Values = NDArray[np.float32]
MEMBERS = ("embedding", "logits", "classes")


@dataclass(frozen=True, slots=True)
class Kept:
    """What one network said.

    Attributes:
        title: whose it is.
        folder: the run that kept it.
        who: ``"student"`` or ``"teacher"`` there.
        labels: of the shown images, or ``None``.
        indices: which images they are.
        values: ``"embedding"`` and ``"logits"`` of those images and ``"classes"``, the means of
            every class, as far as there are any.
    """

    title: str
    folder: Path
    who: str
    labels: NDArray[np.int64] | None
    indices: NDArray[np.int64]
    values: dict[str, Values]


def kept(summary: Summary, runs: Iterable[tuple[Path, Record]]) -> list[Kept]:
    """The teacher, and the lowest seed of every line, as far as their files can be read."""
    folders = {id(record): folder for folder, record in runs}
    teachers = {line.title for line in summary.lines if line.kind == "teacher"}
    found = list[Kept]()
    for line in summary.lines:
        if not line.runs:
            continue
        run = min(line.runs, key=lambda each: (each.recipe.seed, each.recipe.split_seed))
        held = read(folders[id(run)]) if id(run) in folders else {}
        if line.title not in teachers:
            if "teacher" in held and not any(each.title == "teacher" for each in found):
                found.insert(0, _named(held["teacher"], "teacher"))
            found += [_named(held[who], line.title) for who in ("student",) if who in held]
    return found


def _named(each: Kept, title: str) -> Kept:
    return Kept(title, each.folder, each.who, each.labels, each.indices, each.values)


def read(folder: Path) -> dict[str, Kept]:
    """What a run kept of its student and its teacher; nothing where the file is damaged."""
    try:
        held = load_file(folder / NAME)
        indices = held["indices"]
    except (SafetensorError, OSError, ValueError, KeyError):
        return {}
    labels = held.get("labels")
    if labels is not None and labels.shape != indices.shape:
        labels = None
    found = dict[str, Kept]()
    for who in ("student", "teacher"):
        values = {
            member: held[f"{who}_{member}"].astype(np.float32)
            for member in MEMBERS
            if f"{who}_{member}" in held
        }
        sound = {
            member: value
            for member, value in values.items()
            if value.ndim == 2
            and np.isfinite(value).all()
            and (member == "classes" or len(value) == len(indices))
        }
        if sound:
            found[who] = Kept("", folder, who, labels, indices, sound)
    return found
