"""The option ``--track``, which several commands have."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from relatum.bench import Cell

Track = Annotated[
    str | None,
    typer.Option(
        "--track",
        help="Log each run elsewhere too: tensorboard, wandb, mlflow, my_file.py:MyTracker; several"
        " joined by commas. Its own folder has everything all the same.",
    ),
]


def trackers(text: str | None) -> tuple[str, ...]:
    """The trackers that the option names.

    Raises:
        Fault: one of them does not exist, or lacks its package.
    """
    from relatum.trackers import names_of

    return () if text is None else names_of(text)


def logged(cells: "Iterable[Cell]", text: str | None) -> "list[Cell]":
    """The same cells, logged by the trackers that the option names."""
    return [replace(cell, track=trackers(text)) for cell in cells]
