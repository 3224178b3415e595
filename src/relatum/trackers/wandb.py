"""Weights & Biases: online where somebody is logged in, and else a folder to send later."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from relatum.recipes.recipe import Recipe
from relatum.record import Record
from relatum.trackers import PROJECT, results_of


class WandB:
    """One run of W&B for each run; the environment's ``WANDB_…`` variables hold.

    Its project is ``WANDB_PROJECT``, or "relatum". What W&B itself gathers of this machine and of
    the code is left to its own settings, but for the terminal's text, which is not taken.
    """

    def begin(self, recipe: Recipe, folder: Path, name: str, key: str, again: bool) -> str:
        """Begin the run of this key, or go on with it."""
        mode: Any = os.environ.get("WANDB_MODE")
        mode = mode or ("online" if wandb.login(prompt=False) else "offline")
        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=name,
            id=key,
            resume="allow",
            dir=str(folder),
            mode=mode,
            config=recipe.model_dump(mode="json"),
            reinit="create_new",  # a benchmark may have several at once in one process
            settings=wandb.Settings(console="off", silent=True),
        )
        if mode == "offline":
            return "wandb is offline; each run's folder has wandb/offline-run-*, for 'wandb sync'"
        return f"wandb: {self._run.url}"

    def row(self, number: int, values: Mapping[str, float]) -> None:
        """A step; one that the server knows already is left out."""
        if number >= self._run.starting_step:
            self._run.log(dict(values), step=number)

    def end(self, record: Record | None) -> None:
        """The results, if there are any; a run that stopped may go on."""
        if record is not None:
            self._run.summary.update(results_of(record))
        self._run.finish(exit_code=0 if record is not None else 1)
