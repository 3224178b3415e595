"""The epochs of a run in its folder, a line each."""

import json
from pathlib import Path

from relatum.record import Row, read_rows
from relatum.run.claim import METRICS
from relatum.weights import write


def go_on(folder: Path, stage: int, epochs: int) -> list[Row]:
    """What was measured up to where the training goes on; the file ends there too."""
    rows = read_rows(folder / METRICS)
    kept = [row for row in rows if (row.stage, row.epoch) <= (stage, epochs)]
    write(folder / METRICS, "".join(map(_line, kept)).encode())
    return kept


def note(folder: Path, row: Row) -> None:
    """Add an epoch."""
    with (folder / METRICS).open("a") as file:
        file.write(_line(row))


def _line(row: Row) -> str:
    return json.dumps(row.model_dump()) + "\n"
