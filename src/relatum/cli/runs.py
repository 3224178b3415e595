"""From what was asked for to the runs that it means: ``distill`` trains them, ``doctor`` looks."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import typer

from relatum.cli import options, places

if TYPE_CHECKING:
    import torch

    from relatum.bench import Cell
    from relatum.recipes.recipe import Recipe

USUAL = "kd,sp,rrkd,rrd"
"""The methods where nobody names any."""
NOT_BESIDE_RECIPE = ("dataset", "data", "teacher", "student", "method", "baseline", "labels")
"""Options that a recipe's file makes meaningless."""
ALIKE = (
    "dataset",
    "data_root",
    "image_size",
    "memory",
    "skip_broken",
    "speed",
    "precision",
    "validation",
    "split_seed",
    "samples",
)
"""What of a student's recipe holds for the training of its teacher too."""


@dataclass(frozen=True)
class Asked:
    """What options ask for, by the names that they have in ``distill``."""

    data: str = "digits"
    teacher: str | None = None
    student: str | None = None
    method: str | None = None
    baseline: bool = True
    labels: bool = True
    seeds: str | None = None
    seed: int | None = None
    epochs: int | None = None
    samples: int | None = None
    scale: float = 1.0
    balance: str | None = None
    recipe: Path | None = None
    set_: list[str] | None = None
    out: Path | None = None
    data_root: Path | None = None
    skip_broken: bool = False
    download: bool = False
    speed: str | None = None
    precision: str | None = None
    batch: int | None = None
    microbatch: int | None = None
    sync_batchnorm: bool = False
    cache: Path | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """What a command is asked for: those of its parameters that have a field's name.

        Args:
            given: its parameters, as ``locals()`` has them in its first line.

        Raises:
            Fault: the set is named twice, or something beside a recipe that it says itself.
        """
        if given["recipe"] is not None:
            options.refuse_beside(given["context"], "recipe", *NOT_BESIDE_RECIPE)
        own = {each.name: given[each.name] for each in fields(cls) if each.name in given}
        own["data"] = options.dataset_of(given["dataset"], given["data"]) or cls.data
        return cls(**own)

    @property
    def shared(self) -> dict[str, Any]:
        """Fields of all recipes, a teacher's too; ``None`` leaves one as it is."""
        return {
            "data_root": str(self.data_root) if self.data_root else None,
            "skip_broken": self.skip_broken or None,
            "speed": self.speed,
            "precision": self.precision,
            "epochs": self.epochs,
            "samples": self.samples,
            "batch_size": self.batch,
            "microbatch": self.microbatch,
            "sync_batchnorm": self.sync_batchnorm or None,
        }

    @cached_property
    def changes(self) -> dict[str, Any]:
        """Fields of the students' recipes.

        Raises:
            Fault: one cannot be read, has an option of its own, or is given by its option too.
        """
        elsewhere = ("seed", "method", "teacher", "labels") if self.recipe is None else ()
        own = {"cache": None if self.cache is None else str(self.cache), "balance": self.balance}
        given = {**self.shared, **own, "student": self.student}
        found = options.changes_of(self.set_, ("scale", *elsewhere), given)
        return found | {name: value for name, value in own.items() if value is not None}

    @cached_property
    def again(self) -> "Recipe | None":
        """The recipe of a file, with what is changed of it.

        Raises:
            Fault: it cannot be read, or cannot be changed so.
        """
        from relatum.recipes.recipe import Recipe

        if self.recipe is None:
            return None
        found: Recipe = options.changed(Recipe.read(self.recipe), **self.shared)
        return found.but(**self.changes).scaled(self.scale)

    @property
    def usual(self) -> bool:
        """Whether nobody named a method: those are run that the pair can have."""
        return self.recipe is None and self.method is None

    @cached_property
    def folder(self) -> Path:
        """Where the results go."""
        if self.out is not None:
            return self.out
        if self.again is not None:
            method = self.again.method
            return places.usual(method, method, self.again.dataset, end="-again")
        return places.of_set(self.data)

    def recipes(self) -> "tuple[Recipe | None, Recipe]":
        """That of the teacher, where one is trained first, and that of the students."""
        from relatum.recipes.standard import standard

        first = self.teacher is None or _begins_anew(self.teacher)
        named = self.teacher if first else None
        teaching, learning = standard(self.data, teacher=named, student=self.student)
        teaching = options.changed(teaching, **self.shared).scaled(self.scale)
        learning = options.changed(learning, labels=self.labels, **self.shared)
        learning = learning.but(**self.changes).scaled(self.scale)
        if not first:
            return None, learning.but(teacher=self.teacher)
        same = {name: getattr(learning, name) for name in ALIKE}
        return teaching.but(student_size=learning.teacher_size, **same), learning


def cells_of(asked: Asked) -> "list[Cell]":
    """A teacher, unless one is given, and every method with every seed.

    Raises:
        Fault: something is unknown, or there is nothing to train a teacher by.
    """
    from relatum.bench import Cell
    from relatum.grammar import split
    from relatum.types import Fault

    if asked.again is not None:
        own = asked.seeds is None and asked.seed is None
        seeds = (asked.again.seed,) if own else _seeds(asked)
        return _students(asked.again, [asked.again.method], seeds)
    names, seeds = split(USUAL if asked.method is None else asked.method), _seeds(asked)
    teaching, learning = asked.recipes()
    labelled = _labelled(teaching, learning, asked.download)
    if asked.baseline and asked.labels and labelled and "none" not in names:
        names = ["none", *names]
    if teaching is None:
        return _of_one_size(learning, _students(learning, names, seeds))
    if not labelled:
        raise Fault(
            f"{asked.data} has no labels to train a teacher by; give a trained one: --teacher"
        )
    own_code = f"{teaching.student}@" if ":" in teaching.student else ""
    learning = learning.but(teacher=f"{own_code}{asked.folder / 'teacher'}")
    teacher = Cell("teacher", "teacher", teaching.but(seed=seeds[0]))
    return _of_one_size(learning, [teacher, *_students(learning, names, seeds)])


def _of_one_size(learning: "Recipe", cells: "list[Cell]") -> "list[Cell]":
    """The same runs, with images of one size; said where it is the teacher's, and dear."""
    from relatum import together
    from relatum.bench.experiment import of_one_size
    from relatum.run.sizes import enlarged_for_teacher

    cells = of_one_size(cells)
    said = enlarged_for_teacher(learning, cells[-1].recipe.image_size)
    if said is not None and together.first():
        typer.echo(f"note: {said}", err=True)
    return cells


def able(cells: "list[Cell]", out: Path, device: "torch.device", download: bool) -> "list[Cell]":
    """Without those of the usual methods that the pair cannot have; says which.

    Raises:
        Fault: no method is left; or it is not for the method that something cannot be had.
    """
    from relatum import together
    from relatum.bench.serving import serving

    kept, unable = serving(cells, out, device=device, download=download)
    if together.first():
        for label, why in unable.items():
            typer.echo(f"{label} is left out: {why.partition(';')[0]}", err=True)
    return kept


def _seeds(asked: Asked) -> tuple[int, ...]:
    return options.seeds_of(asked.seeds, asked.seed, (0, 1, 2))


def _labelled(teaching: "Recipe | None", learning: "Recipe", download: bool) -> bool:
    """Whether the set has labels; it is loaded for that, at the size that it is wanted in."""
    import torch

    from relatum.run.sets import sets_of
    from relatum.run.sizes import settled

    both = [learning, *([] if teaching is None else [teaching])]
    return bool(sets_of(settled(both)[0], torch.device("cpu"), download).classes)


def _students(recipe: "Recipe", names: list[str], seeds: tuple[int, ...]) -> "list[Cell]":
    """Every method with every seed.

    The student alone has the teacher too: it does not learn from it, but is compared.

    Raises:
        Fault: two methods would have one folder.
    """
    from relatum.bench import Cell
    from relatum.bench.experiment import folder_of
    from relatum.types import Fault

    folders: dict[str, str] = {}
    for name in names:
        if (other := folders.setdefault(folder_of(name), name)) != name:
            raise Fault(f"{other} and {name} would share the folder {folder_of(name)}; run one")
    cells: list[Cell] = []
    for number in seeds:
        for name in names:
            own = recipe.but(method=name, seed=number)
            if name == "none" and len(names) > 1:  # by itself it has no terms to balance: said so
                own = own.but(balance=None)
            cells.append(Cell(f"{folder_of(name)}/seed-{number}", name, own))
    return cells


def _begins_anew(teacher: str) -> bool:
    """Whether a teacher is the name of a model, and so is to be trained first."""
    from relatum.models import MODELS
    from relatum.models.foreign import PRETRAINED, is_foreign

    if Path(teacher).exists() or teacher.endswith(PRETRAINED):
        return False
    return teacher in MODELS or (is_foreign(teacher) and not set(teacher) & set("@,"))
