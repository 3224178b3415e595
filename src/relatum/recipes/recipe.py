"""A recipe: everything a run depends on, as names and numbers, and nothing that it produces."""

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from relatum import schedules
from relatum.schedules import Schedule
from relatum.types import Fault


class Recipe(BaseModel):
    """A run, frozen: written into its folder, and runnable again from there.

    A variant is ``recipe.but(epochs=10)``. Names are those of ``relatum list``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str = "digits"
    """A name, or ``folder:PATH``."""
    data_root: str | None = None
    """Where the set's files are; the usual cache when ``None``."""
    image_size: int | None = Field(default=None, gt=0)
    """Pixels a side, for folders of images of many sizes."""
    labels: bool = True
    """Whether the labels may be used for training, where the set has any."""
    validation: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the training set that is cut off, by ``split_seed``, to choose by."""
    split_seed: int = 0
    augment: tuple[str, ...] = ()
    """Augmentations of whole batches, in order."""

    student: str = "digits-cnn-small"
    teacher: str | None = None
    """The folder of a run whose student teaches here, or ``MODEL@WEIGHTS``."""
    method: str = "none"
    anchors: Literal["batch", "random", "random-per-class", "confident-per-class"] = "batch"
    """What RRKD compares with: the batch, or fixed images of the training set."""
    anchor_count: int = Field(default=128, gt=0)
    """How many fixed images, in all or for each class."""
    dropout: float | None = Field(default=None, ge=0.0, lt=1.0)
    """Probability for every dropout layer of the student; the network's own when ``None``."""

    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of initialisation, order, augmentation and dropout."""
    epochs: int = Field(default=30, ge=0)
    batch_size: int = Field(default=64, gt=0)
    drop_last: bool = True
    """Whether a short last batch is left out, as batch-dependent losses would have it."""
    learning_rate: float = Field(default=0.05, gt=0.0)
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)
    nesterov: bool = False
    weight_decay: float = Field(default=5e-4, ge=0.0)
    schedule: Literal["constant", "cosine", "steps"] = "cosine"
    milestones: tuple[int, ...] = ()
    """Epochs after which the learning rate falls tenfold, where the schedule is ``steps``."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the networks; the maths of losses is float32 at least."""
    probes: tuple[Literal["linear", "knn"], ...] = ()
    """What is fitted on the frozen embedding at the end, to see what it holds."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.milestones and self.schedule != "steps":
            raise ValueError(f"milestones need schedule 'steps', got {self.schedule!r}")
        if self.schedule == "steps" and not self.milestones:
            raise ValueError("schedule 'steps' needs milestones")
        if self.milestones and not 0 < min(self.milestones) <= max(self.milestones) < self.epochs:
            raise ValueError(f"milestones {self.milestones} do not lie within {self.epochs} epochs")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum")
        return self

    def but(self, **changes: Any) -> Self:
        """The same recipe with some fields changed, checked again."""
        return type(self).of({**self.model_dump(), **changes})

    def schedule_of(self) -> Schedule:
        """What the learning rate is multiplied by, over the progress of training."""
        if self.schedule == "steps":
            return schedules.steps([each / self.epochs for each in self.milestones])
        return schedules.cosine() if self.schedule == "cosine" else schedules.constant()

    @classmethod
    def of(cls, fields: Any) -> Self:
        """Check names and values.

        Raises:
            Fault: an unknown field (with the nearest name), a wrong type, or values that do
                not agree.
        """
        if not isinstance(fields, dict):
            raise Fault(f"a recipe is an object of fields, got {type(fields).__name__}")
        for name in fields:
            if name not in cls.model_fields:
                near = get_close_matches(str(name), cls.model_fields, n=1, cutoff=0)
                raise Fault(f"a recipe has no field {name!r}; the nearest is {near[0]!r}")
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"][:1]))
            what = first["msg"].removeprefix("Value error, ")
            got = f", got {first['input']!r}" if field else ""
            where = f"recipe field {field!r}" if field else "recipe"
            raise Fault(f"{where}: {what[0].lower()}{what[1:]}{got}") from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a ``recipe.json``.

        Raises:
            Fault: there is no such file, it is no JSON, or its fields are wrong.
        """
        try:
            return cls.of(json.loads(path.read_text()))
        except OSError as error:
            raise Fault(f"cannot read the recipe {path}: {error.strerror}") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise Fault(f"{path} is no JSON: {error}") from error
        except Fault as fault:
            raise Fault(f"{path}: {fault}") from fault
