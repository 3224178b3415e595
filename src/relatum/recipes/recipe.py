"""A recipe: everything a run depends on, as names and numbers, and nothing that it produces."""

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from relatum import schedules, spelling, teacher_names
from relatum.faults import Fault
from relatum.schedules import Schedule
from relatum.spelling import Asked, Word, unknown_field

Watched = Literal["knn", "linear", "retrieval", "neighbours", "agreement", "gap"]
"""What can be measured while training goes on."""
Chosen = Literal["top1", "knn", "linear", "retrieval", "neighbours", "agreement", "gap"]
"""What the best epoch can be chosen by."""


class Recipe(BaseModel):
    """A run, frozen: written into its folder, and runnable again from there.

    A variant is ``recipe.but(epochs=10)``. Names are those of ``relatum list``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str = "digits"
    """A name, or your images: ``folder:PATH``, ``table:FILE``, ``hf:NAME``, ``wds:SHARDS``."""
    data_root: str | None = None
    """Where the set's files are; the usual cache when ``None``."""
    image_size: int | None = Field(default=None, gt=0)
    """Pixels a side, for your own images and sets of larger ones; ``None`` for what is wanted."""
    student_size: int | None = Field(default=None, gt=0)
    """Pixels a side at which the student sees the images. ``None``, as in older recipes: for images
    of your own its own size if it has one, and else the set's (``relatum.run.sizes``)."""
    teacher_size: int | None = Field(default=None, gt=0)
    """Likewise the teacher: ``None`` for what it was trained at, where that is known."""
    memory: Literal["auto", "resident", "streamed"] = "auto"
    """Whether images of your own are decoded at once and held, or decoded while they are used;
    ``auto`` holds them where they take less than half of the free memory. The bits are the same."""
    skip_broken: bool = False
    """Whether images of your own that cannot be read are left out, and said so; they are a fault
    otherwise, as in runs from before there was a choice."""
    labels: bool = True
    """Whether the labels may be used for training, where the set has any."""
    validation: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the training set that is cut off, by ``split_seed``, to choose by."""
    split_seed: int = 0
    """Of what is cut off for validation, and of the ``samples`` that are drawn."""
    samples: int | None = Field(default=None, gt=0)
    """How many training images to draw, by ``split_seed``, of what validation leaves: as many of
    each class as of any other, where labels may be used; ``None`` for all."""
    augment: tuple[str, ...] = ()
    """Augmentations of whole batches, in order."""
    views: int | None = Field(default=None, gt=0, le=10_000)
    """In how many ways each image is augmented: drawn once, and shown in turn by the epochs.
    ``None`` for another way every epoch."""
    cache: str | None = None
    """A folder for what the teacher says of every image and view (``relatum.cache``): what is
    there is read, what is missing computed once, and training then runs without the teacher."""

    student: str = "digits-cnn-small"
    begin: str | None = None
    """The folder of a run, or ``MODEL@WEIGHTS``, whose weights the student begins with; its
    classifier starts anew. ``None`` for a student that begins at random."""
    teacher: str | None = None
    """The folder of a run whose student teaches here, or ``MODEL@WEIGHTS``; ``table:FILE`` for
    embeddings or logits of the images (``relatum.tables``); or several of these, joined by commas
    and weighed by ``=NUMBER`` (``relatum.several``)."""
    method: str = "none"
    balance: dict[str, float] | Literal["equal"] | None = None
    """With which shares of the pull at the student the terms of the method begin, by their names
    (``ce``, ``sp`` …), or ``"equal"``: their weights are found before training
    (``relatum.balance``). ``None`` for the method's own weights."""
    anchors: Literal["batch", "random", "random-per-class", "confident-per-class"] = "batch"
    """What RRKD compares with: the batch, or fixed images of the training set."""
    anchor_count: int = Field(default=128, gt=0)
    """How many fixed images, in all or for each class."""
    dropout: float | None = Field(default=None, ge=0.0, lt=1.0)
    """Probability for every dropout layer of the student; the network's own when ``None``."""

    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of initialisation, order, augmentation and dropout."""
    epochs: int = Field(default=30, ge=0)
    scale: float = Field(default=1.0, gt=0.0, le=1.0)
    """What share of the protocol's epochs these are: tables of less than all of them say so."""
    batch_size: int = Field(default=64, gt=0)
    microbatch: int | None = Field(default=None, gt=0)
    """Samples that go through the networks at a time, on each process, where a batch is more than
    its memory holds; the gradient is that of the whole batch. All at once when ``None``."""
    sync_batchnorm: bool = False
    """Whether the student's BatchNorm takes its statistics over the samples of all processes
    (torch's SyncBatchNorm, on GPUs alone), and not over those of its own."""
    shard: tuple[Literal["teacher", "student"], ...] = ()
    """What each process of a training holds only a part of (FSDP2), where whole it is too large."""
    teacher_precision: Literal["own", "bfloat16", "float16"] = "own"
    """What the teacher computes in, whatever the student does: as it was built and loaded, or in
    half of that memory."""
    drop_last: bool = True
    """Whether a short last batch is left out, as batch-dependent losses would have it."""
    learning_rate: float = Field(default=0.05, gt=0.0)
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)
    nesterov: bool = False
    weight_decay: float = Field(default=5e-4, ge=0.0)
    schedule: Literal["constant", "cosine", "steps"] = "cosine"
    milestones: tuple[int, ...] = ()
    """Epochs after which the learning rate falls tenfold, where the schedule is ``steps``."""
    speed: Word = "exact"
    """What may be given up for time (``relatum.speed``): nothing, the bits of two runs being equal;
    the last digits; or those and a minute of compiling."""
    precision: Asked = "auto"
    """Of the networks; the maths of losses is float32 at least. ``auto`` is bfloat16 where the
    speed allows it and the hardware multiplies in it, else float32."""
    probes: tuple[Literal["linear", "knn", "retrieval"], ...] = ()
    """What is asked of the frozen embedding at the end, to see what it holds: classifiers that are
    fitted on it, or how well it ranks the test images by class."""
    watch_test: bool = False
    """Whether accuracy on the test images is noted after every epoch, as papers that report
    their best epoch have it. Nothing is chosen by it."""
    watch: tuple[Watched, ...] = ()
    """What is measured on the validation part while training goes on (``relatum.run.watch``). The
    first three are told the classes, whatever ``labels`` says: it forbids to train by them."""
    watch_every: int = Field(default=1, gt=0)
    """Epochs from one of these measurements to the next; the last epoch always has one."""
    best_by: Chosen | None = None
    """What "best" is chosen by, on the validation part: one of ``watch``, or ``top1``. ``None``
    for top-1 where labels may be used, and else for what the student is taught."""
    gradient_norms: bool = False
    """Whether the norm of each term's gradient is noted, at the first step of every epoch
    (``relatum.gradient_norms``)."""

    @field_validator("balance", mode="before")
    @classmethod
    def _shares(cls, given: Any) -> Any:
        """Read ``ce=0.5,sp=0.5`` too, and check the shares."""
        return spelling.shares(given) if isinstance(given, str | dict) else given

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.milestones and self.schedule != "steps":
            raise ValueError(f"milestones need schedule 'steps', got {self.schedule!r}")
        if self.schedule == "steps" and not self.milestones:
            raise ValueError("schedule 'steps' needs milestones")
        if self.milestones and not 0 < min(self.milestones) <= max(self.milestones) < self.epochs:
            raise ValueError(
                f"milestones {self.milestones} do not lie within {self.epochs} epochs (to shorten"
                " both alike there is --scale)"
            )
        if self.views is not None and not self.augment:
            raise ValueError("views are ways of augmenting, and this recipe augments nothing")
        if self.teacher is not None:
            self._has_a_network(self.teacher)
        if self.cache is not None and self.augment and self.views is None:
            raise ValueError(
                "a cache holds what the teacher says of an image, and augmentation makes another"
                " image every epoch; fix how many (--set views=4) or make none (--set augment=)"
            )
        if self.cache is not None and "teacher" in self.shard:
            raise ValueError("a teacher in parts (shard) cannot fill a cache; leave one out")
        if self.microbatch is not None and "student" in self.shard:
            raise ValueError("a student in parts (shard) takes its batches whole, no microbatch")
        if "student" in self.shard and self.speed != "exact":
            raise ValueError("a student in parts (shard) trains at speed exact; leave one out")
        if self.balance is not None and self.microbatch is not None:
            raise ValueError(
                "balance looks at whole batches, and microbatch says that memory holds none; leave"
                " one out, or weigh the terms by hand (--method sp=100+kd)"
            )
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum")
        if self.begin is not None and self.student.endswith(":pretrained"):
            raise ValueError(
                f"{self.student} begins with published weights, and begin names others"
            )
        return self

    @model_validator(mode="after")
    def _watches(self) -> Self:
        if (self.watch or self.best_by) and not self.validation:
            what = "watch" if self.watch else "best_by"
            raise ValueError(
                f"{what} measures on images that are cut from the training set, and none are"
                " (--set validation=0.1)"
            )
        if self.best_by not in (None, "top1", *self.watch):
            watched = ",".join((*self.watch, str(self.best_by)))
            raise ValueError(
                f"best_by names {self.best_by}, which is not watched (--set watch={watched})"
            )
        if self.best_by == "top1" and not self.labels:
            raise ValueError("best_by top1 reads the labels, and labels is false; watch knn, say")
        return self

    def _has_a_network(self, teacher: str) -> None:
        """Refuse what is for networks, where tables alone teach; and tables that are misspelt.

        By the words alone. Other teachers are read when they are loaded: ``a,b=0`` may be a folder.
        """
        if not teacher_names.tables_alone(teacher):
            return
        if self.cache is not None:
            raise ValueError(f"{teacher!r} holds what it says itself; leave the cache out")
        if "teacher" in self.shard:
            raise ValueError(f"shard parts networks, and {teacher!r} is a table")
        if self.teacher_precision != "own":
            raise ValueError("teacher_precision is a network's, and a table computes nothing")

    @property
    def last_batch(self) -> Literal["dropped", "kept"]:
        """What becomes of a short last batch, in which published code differs.

        Dropped in giakoumoglou/distillers (RRD, DCD: 781 steps on CIFAR-100), kept in
        RepDistiller (CRD's tables: 782 steps, the last of 16 images).
        """
        return "dropped" if self.drop_last else "kept"

    def but(self, **changes: Any) -> Self:
        """The same recipe with some fields changed, checked again."""
        return type(self).of({**self.model_dump(), **changes})

    def shortened(self, epochs: int) -> Self:
        """The same course in so many epochs: milestones lie at the same share of training.

        Two that meet are both kept, so that the rate ends as low; one that would fall on the end
        goes, and without any the rate is constant.
        """
        places = (max(1, round(each * epochs / self.epochs)) for each in self.milestones)
        milestones = tuple(each for each in places if each < epochs)
        gone = self.milestones and not milestones
        schedule = "constant" if gone else self.schedule
        return self.but(epochs=epochs, milestones=milestones, schedule=schedule)

    def scaled(self, scale: float) -> Self:
        """The same course in a share of the epochs, which the recipe, and so its record, says.

        Args:
            scale: over 0 and up to 1; the smallest leaves one epoch, and none stays none.

        Raises:
            Fault: another scale.
        """
        if not 0 < scale <= 1:
            raise Fault(f"a scale is a share of the epochs, over 0 and up to 1, got {scale}")
        if scale == 1:
            return self
        epochs = max(1, round(self.epochs * scale)) if self.epochs else 0
        return self.shortened(epochs).but(scale=self.scale * scale)

    def schedule_of(self) -> Schedule:
        """What the learning rate is multiplied by, over the progress of training."""
        if self.schedule == "steps":
            return schedules.steps([each / self.epochs for each in self.milestones])
        return schedules.cosine() if self.schedule == "cosine" else schedules.constant()

    @classmethod
    def of(cls, fields: Any) -> Self:
        """Check names and values.

        Raises:
            Fault: an unknown field (with what is meant), a wrong type, or values that do
                not agree.
        """
        if not isinstance(fields, dict):
            raise Fault(f"a recipe is an object of fields, got {type(fields).__name__}")
        for name in fields:
            if name not in cls.model_fields:
                raise Fault(unknown_field(str(name), cls.model_fields))
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
