"""Where a run is logged, beside its own folder: TensorBoard, W&B, MLflow, or a class of yours.

Where a run is logged is no part of what it is: no recipe names a tracker, and a run that is
logged has the same bits as one that is not. Needs no torch, so a wrong name is refused at once.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from relatum.faults import Fault
from relatum.spelling import unknown

if TYPE_CHECKING:
    from relatum.recipes.recipe import Recipe
    from relatum.record import Record, Row

PROJECT = "relatum"
"""What W&B calls the project and MLflow the experiment, where nobody says otherwise."""
TRACKERS = {
    "tensorboard": "relatum.trackers.tensorboard:TensorBoard",
    "wandb": "relatum.trackers.wandb:WandB",
    "mlflow": "relatum.trackers.mlflow:MLflow",
}
"""Each is called as the package is that it needs, and as the extra that brings it."""


class Tracker(Protocol):
    """Told of one run, in this order, by one thread; what it raises never reaches the run."""

    def begin(self, recipe: "Recipe", folder: Path, name: str, key: str, again: bool) -> str:
        """A run begins, or goes on.

        Args:
            recipe: what is run.
            folder: the run's own, where files may be left in a folder of the tracker's name.
            name: for people.
            key: for machines: another for every run, and the same when it goes on.
            again: it goes on; all rows that there were are told again, and are to be shown once.

        Returns:
            A line worth telling, such as where the run is seen; empty for none.
        """
        ...

    def row(self, number: int, values: Mapping[str, float]) -> None:
        """An epoch ended: its number, from 1 through all stages, and what was measured."""
        ...

    def end(self, record: "Record | None") -> None:
        """The run is finished and saved; ``None`` where it stopped, and may be gone on with."""
        ...


def names_of(text: str) -> tuple[str, ...]:
    """The trackers that ``tensorboard,wandb`` names; ``my_file.py:Mine`` is a class of yours.

    Raises:
        Fault: one of them does not exist, is there twice, or lacks its package.
    """
    names = tuple(each.strip() for each in text.split(","))
    for name in names:
        if names.count(name) > 1:
            raise Fault(f"trackers {text!r}: {name!r} is there twice")
        if ":" in name:
            continue
        if name not in TRACKERS:
            raise Fault(f"{unknown('tracker', name, TRACKERS)} (or my_file.py:MyTracker)")
        if find_spec(name) is None:
            raise Fault(f"the tracker {name!r} needs its package: pip install 'relatum[{name}]'")
    return names


def tracker_of(name: str) -> Tracker:
    """A tracker by its name.

    Raises:
        Fault: there is none, or what the name means is no tracker.
    """
    from relatum.imports import from_path

    made: Tracker = from_path(TRACKERS.get(name, name))()
    lacking = [each for each in ("begin", "row", "end") if not hasattr(made, each)]
    if lacking:
        raise Fault(f"the tracker {name!r} has no method {lacking[0]!r} (relatum.trackers.Tracker)")
    return made


def values_of(row: "Row") -> dict[str, float]:
    """What trackers are told of an epoch."""
    return {
        "epoch": row.epoch,
        "stage": row.stage,
        "learning_rate": row.learning_rate,
        "seconds": row.seconds,
        **{f"loss/{name}": value for name, value in row.losses.items()},
        **{f"metric/{name}": value for name, value in row.metrics.items()},
    }


def results_of(record: "Record") -> dict[str, float]:
    """What trackers are told at the end."""
    about = {"parameters": record.parameters, "macs": record.macs, "seconds": record.seconds}
    return {f"final/{name}": value for name, value in {**about, **record.metrics}.items()}
