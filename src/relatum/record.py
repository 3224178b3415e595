"""What a run leaves behind: one JSON file, from which every table and picture is made."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from relatum import world
from relatum.recipes.recipe import Recipe
from relatum.types import Fault
from relatum.weights import write

NAME, FAILURE = "record.json", "failure.json"
WEIGHTS = "student.safetensors"
"""What a run, and an export of it, call the weights of what was trained."""
WATCHED = {
    **{"top1": "top1", "knn": "knn", "linear": "probe", "retrieval": "map"},
    **{"neighbours": "neighbours", "agreement": "agreement", "gap": "gap_cosine"},
}
"""The metric that a row has, for what a recipe's ``watch`` and ``best_by`` call it."""
# Without "constants" an infinite diagnostic is written as null, which cannot be read again.
WRITTEN = ConfigDict(frozen=True, ser_json_inf_nan="constants")

GRADIENT_NORM = "gradient_norm_"
"""What stands before the name of a term, where a row has the norm of its gradient."""


class Row(BaseModel):
    """One epoch: what training did, and what was measured after it."""

    model_config = WRITTEN

    stage: int = 0
    epoch: int
    learning_rate: float
    losses: dict[str, float]
    """Means over the samples, every term before its weight."""
    metrics: dict[str, float] = {}
    """Measured on the validation part (``validation_…``), where there is one, and on the test
    images (``test_top1``), where the recipe watches them; and where they were asked for, norms of
    gradients at the first step (``gradient_norm_TERM``: at the embedding, or as ``TERM@TAP``)."""
    steps: int
    samples: int
    seconds: float


class TeacherRecord(BaseModel):
    """Whom a student learnt from."""

    model_config = WRITTEN

    name: str
    weights_sha256: str
    parameters: int
    macs: int = 0
    """Multiply-accumulates an image at its own size; 0 where nobody counted, and of a table."""
    metrics: dict[str, float]
    """On the same test images as the student: measured now, or by the run that trained it."""
    share: float = 1.0
    """What it counts among several teachers."""
    members: tuple["TeacherRecord", ...] = ()
    """Each of them, where these are several teachers together."""


class Record(BaseModel):
    """A finished run.

    All metrics are of the last epoch, but for those called ``best_…``: of the best epoch by
    validation, and ``best_on_test_top1``, which is chosen on the test images themselves.
    """

    model_config = WRITTEN

    format: Literal[1] = 1
    label: str
    """What tables call it, without the seed."""
    recipe: Recipe
    altered: str = ""
    """What a reproduction did to the run that no recipe can say; empty for nothing."""
    environment: dict[str, Any]
    notes: tuple[str, ...] = ()
    """What the run decided by itself, in sentences."""
    idle: tuple[str, ...] = ()
    """The student's parameters that no term reached, and that therefore did not learn."""
    classes: tuple[str, ...] = ()
    parameters: int
    encoder_parameters: int
    macs: int
    samples: dict[str, int]
    """How many images in the training, validation and test part."""
    rows: tuple[Row, ...]
    metrics: dict[str, float]
    teacher: TeacherRecord | None = None
    weights: dict[str, float] = {}
    """Of the terms, by name, where the recipe has them balanced."""
    begin_sha256: str = ""
    """Of the weights that the student began with; empty where it began at random."""
    best_epoch: int | None = None
    """Chosen on the validation part; ``None`` where there is none."""
    seconds: float
    """Of training alone."""

    @property
    def steps(self) -> int:
        """Updates in all."""
        return sum(row.steps for row in self.rows)

    @property
    def labelled(self) -> bool:
        """Whether labels were there, and allowed to be used for training."""
        return self.recipe.labels and bool(self.classes)

    def save(self, folder: Path) -> None:
        """Write it into a run's folder."""
        write(folder / NAME, self.model_dump_json(indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> "Record":
        """Read it from a run's folder.

        Raises:
            Fault: there is none, or it cannot be read.
        """
        path = folder / NAME
        try:
            return cls.model_validate_json(path.read_text())
        except OSError as error:
            raise Fault(f"{folder} holds no finished run: {path.name} is missing") from error
        except (ValidationError, UnicodeDecodeError) as error:
            raise Fault(
                f"{path} is damaged, or of another version of relatum; delete it, and --resume"
                " makes it again"
            ) from error


class Unfinished(BaseModel):
    """A run of a benchmark that has no record, and why; its folder holds this instead."""

    model_config = ConfigDict(frozen=True)

    label: str
    """As a record has it."""
    kind: Literal["refused", "failed"]
    """Refused before training, because the method cannot serve the pair; or failed by itself."""
    reason: str
    """One line."""
    seed: int
    teacher: str | None
    """The network that was to teach; ``None`` for a student alone, or a teacher itself."""
    student: str

    def save(self, folder: Path) -> None:
        """Write it into the run's folder."""
        write(folder / FAILURE, self.model_dump_json(indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> "Unfinished":
        """Read it from the run's folder.

        Raises:
            Fault: there is none, or it cannot be read.
        """
        path = folder / FAILURE
        try:
            return cls.model_validate_json(path.read_text())
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            raise Fault(f"{path} is missing or damaged; delete it") from error


def unfinished(folder: Path) -> list[tuple[Path, Unfinished]]:
    """All runs in a folder that were refused or failed, by path; none is fine."""
    paths = sorted(path.parent for path in folder.rglob(FAILURE))
    return [(path, Unfinished.load(path)) for path in paths if not (path / NAME).exists()]


def find(folder: Path) -> list[tuple[Path, Record]]:
    """All finished runs in a folder, itself included, by path.

    Raises:
        Fault: there is none.
    """
    paths = sorted(
        path.parent
        for path in folder.rglob(NAME)
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not paths:
        raise Fault(f"{folder} holds no finished run (no {NAME} in it or below it)")
    return [(path, Record.load(path)) for path in paths]


def environment(device: torch.device) -> dict[str, Any]:
    """Where a run ran: versions and machine, as far as they can change its numbers."""
    about: dict[str, Any] = {
        **{name: version(name) for name in ("relatum", "torch", "numpy", "scikit-learn")},
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "processes": world.size(),
    }
    if device.type == "cuda":
        about["accelerator"] = torch.cuda.get_device_name(device)
    return about


def read_rows(path: Path) -> list[Row]:
    """The epochs of a ``metrics.jsonl``, as far as they were written whole."""
    rows: list[Row] = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                rows.append(Row.model_validate(json.loads(line)))
            except (json.JSONDecodeError, ValidationError):
                break
    return rows
