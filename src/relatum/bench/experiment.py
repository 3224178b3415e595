"""Runs side by side in the subfolders of one folder."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import torch

from relatum.checkpoint import Stop
from relatum.recipes.plan import Alteration
from relatum.recipes.recipe import Recipe
from relatum.record import Record
from relatum.run import Display, Silent, run
from relatum.run.claim import FILES, RECIPE
from relatum.run.sizes import settled
from relatum.tally import NotFinite
from relatum.types import Fault

OWN = re.compile(r"teacher|[^/]+/seed-[0-9]+")
"""Where in its folder an experiment has its runs."""


@dataclass(frozen=True)
class Cell:
    """One run of an experiment.

    Attributes:
        folder: below the experiment's, e.g. ``"sp/seed-0"``.
        label: what tables call it; seeds share one.
        recipe: what is run.
        alter: done to the distiller before it trains.
        teacher: the network that teaches, by name, where an experiment has several.
        track: trackers that are told of it, by name.
    """

    folder: str
    label: str
    recipe: Recipe
    alter: Alteration | None = None
    teacher: str | None = None
    track: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Where its teacher lies; empty for those that have none. A folder's name may have an @."""
        return (self.recipe.teacher or "").removeprefix(f"{self.teacher}@")


def of_one_size(cells: Sequence[Cell]) -> list[Cell]:
    """The same runs, with images of one size where that is not said and their networks differ."""
    recipes = settled([cell.recipe for cell in cells])
    return [replace(cell, recipe=each) for cell, each in zip(cells, recipes, strict=True)]


@dataclass(frozen=True)
class Failure:
    """A run that went wrong by itself."""

    cell: Cell
    reason: str


def run_all(
    cells: Sequence[Cell],
    out: Path,
    *,
    device: torch.device,
    download: bool = False,
    stop: Stop | None = None,
    display: Display | None = None,
) -> tuple[list[Record], list[Failure]]:
    """Run cells one after the other, going on with those that are there already.

    Returns:
        The records of those that finished, and the failures of those whose loss did not stay
        finite, which stop no other.

    Raises:
        Fault: something that the user can mend; what finished before is kept.
        Interrupted: it was asked to stop.
    """
    records: list[Record] = []
    failures: list[Failure] = []
    display = display or Silent()
    for cell in cells:
        if stop is not None:
            stop.check()
        if cell.source in {str(out / each.cell.folder) for each in failures}:
            failures.append(Failure(cell, "its teacher failed"))
            continue
        try:
            record = run(
                cell.recipe,
                out / cell.folder,
                label=cell.label,
                device=device,
                resume=True,
                download=download,
                stop=stop,
                display=display,
                alter=cell.alter,
                track=cell.track,
            )
        except NotFinite as error:
            failures.append(Failure(cell, str(error)))
            display.note(f"{cell.folder} failed: {error}")
        else:
            records.append(record)
    return records, failures


def folder_of(label: str) -> str:
    """A label as the name of a folder."""
    name = "".join(each if each.isalnum() or each in "+=.-@_" else "-" for each in label)
    return re.sub("-+", "-", name).strip("-.") or "run"


def claim(out: Path, resume: bool, overwrite: bool) -> None:
    """Make sure that a folder may be written to, and delete what is to be replaced.

    Raises:
        Fault: as of ``check_place``.
    """
    there = check_place(out, resume, overwrite)
    for folder in there if overwrite else ():
        for name in FILES:
            (folder / name).unlink(missing_ok=True)


def check_place(out: Path, resume: bool, overwrite: bool) -> list[Path]:
    """Make sure that a folder may be written to, and leave it as it is.

    Returns:
        The runs' folders in it.

    Raises:
        Fault: there are runs in it, and nobody said what to do with them, or they are not of
            one experiment, so that to delete them would be a mishap; or it is no folder.
    """
    if resume and overwrite:
        raise Fault("--resume goes on and --overwrite begins again: give one of them")
    if out.exists() and not out.is_dir():
        raise Fault(f"{out} is a file; choose another --out")
    there = sorted(path.parent for path in out.rglob(RECIPE)) if out.exists() else []
    if there and overwrite:
        if strange := [
            folder for folder in there if not OWN.fullmatch(str(folder.relative_to(out)))
        ]:
            raise Fault(
                f"{out} holds more than one experiment ({strange[0]}), and --overwrite would"
                f" delete it all; choose another: --out {_free(out)}"
            )
    elif there and not resume:
        raise Fault(
            f"{out} holds {len(there)} run{'s' * (len(there) > 1)} already; go on with --resume,"
            f" replace by --overwrite, or choose another: --out {_free(out)}"
        )
    return there


def _free(out: Path) -> Path:
    """A folder beside another that is not there yet."""
    of = out if out.name not in ("", "..") else out.resolve()
    names = (of.parent / f"{of.name}-{number}" for number in count(2))
    return next(each for each in names if not each.exists())
