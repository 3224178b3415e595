"""Shared by the tests of runs."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from relatum.checkpoint import Stop
from relatum.data import Resident
from relatum.record import Record
from relatum.run import Silent
from relatum.run.sets import sets_of

CPU = torch.device("cpu")


class Halts(Silent):
    """Asks to stop after so many steps."""

    def __init__(self, after: int) -> None:
        self.stop, self._left = Stop(), after

    def advance(self) -> None:
        self._left -= 1
        if not self._left:
            self.stop.signum = 15


def numbers(record: Record) -> dict[str, Any]:
    """All that a record says, but for where and how fast it was."""
    kept = record.model_dump(exclude={"seconds", "environment", "recipe"})
    for row in kept["rows"]:
        del row["seconds"]
    return kept


def weights(folder: Path, name: str = "student.safetensors") -> dict[str, torch.Tensor]:
    return load_file(folder / name)


def equal(first: Path, second: Path, name: str = "student.safetensors") -> bool:
    return (first / name).read_bytes() == (second / name).read_bytes()


def wrong(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Turn the labels of a part upside down, wherever a run loads its sets."""
    place = import_module("relatum.run.prepare")

    load = sets_of

    def loaded(*args: Any) -> Any:
        sets = load(*args)
        data = getattr(sets, part)
        changed: Any = {part: Resident(data.images, 9 - data.labels)}
        return replace(sets, **changed)

    monkeypatch.setattr(place, "sets_of", loaded)
