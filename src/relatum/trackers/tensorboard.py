"""TensorBoard: event files in the run's own folder, which need no server and no account."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from relatum.recipes.recipe import Recipe
from relatum.record import Record
from relatum.trackers import results_of

FOLDER = "tensorboard"


class TensorBoard:
    """Curves by epoch; the results as a text, and beside the recipe's fields under HPARAMS.

    ``tensorboard --logdir runs`` shows all runs below a folder.
    """

    def begin(self, recipe: Recipe, folder: Path, name: str, key: str, again: bool) -> str:
        """Open a file, in the place of those that there are: all rows are told again."""
        place = folder / FOLDER
        for path in place.glob("events.out.tfevents.*"):
            path.unlink()
        self._recipe = recipe
        # A TensorBoard that runs has read those, and drops what they said from this step on.
        self._writer = SummaryWriter(str(place), purge_step=1 if again else None)
        return ""

    def row(self, number: int, values: Mapping[str, float]) -> None:
        """A point on each curve, on disk at once: a process may be killed."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, number)
        self._writer.flush()

    def end(self, record: Record | None) -> None:
        """The results, if there are any."""
        if record is not None:
            results = results_of(record)
            self._writer.add_text("results", _table(results), len(record.rows))
            fields = self._recipe.model_dump(mode="json")
            plain = {
                name: value if isinstance(value, str | int | float | bool) else str(value)
                for name, value in fields.items()
            }
            # add_hparams would draw each result as a chart of one point, and there are dozens
            events: Any = self._writer.file_writer
            for each in hparams({**plain, **results}, {}):  # type: ignore[no-untyped-call]
                events.add_summary(each)
        self._writer.close()


def _table(results: Mapping[str, float]) -> str:
    rows = (f"| {name.removeprefix('final/')} | {value:,.6g} |" for name, value in results.items())
    return "\n".join(["| result | |", "|---|---|", *rows])
