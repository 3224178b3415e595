"""A benchmark as a grid: pairs of networks, methods, seeds; a cell of it is a run in a folder."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from relatum.bench.experiment import Cell, folder_of
from relatum.models import MODELS
from relatum.recipes.benchmark import PAIRS, Pair, benchmark, teacher_of
from relatum.recipes.standard import standard
from relatum.types import Fault
from relatum.weights import write

NAME = "bench.json"
"""What was asked for, in the folder of a benchmark."""
ALONE, TEACHER = "none", "teacher"
ALIKE = (
    *("data_root", "image_size", "memory", "skip_broken", "validation", "split_seed", "samples"),
    *("speed", "precision"),
)
"""What of a student's recipe holds for the training of its teacher too."""


@dataclass(frozen=True)
class Grid:
    """What is compared.

    Attributes:
        dataset: on what.
        pairs: who teaches whom.
        methods: how, in the words of ``relatum distill --method``.
        seeds: each is one more training of every student; teachers are trained once, by seed 0.
        scale: a share of the protocol's epochs, of teachers too.
        given: teachers that are trained already, by name: a run's folder or a file of weights.
        changes: of the students' recipes; what is about the images holds for teachers too.
        baseline: the method that the others are tested against.
    """

    dataset: str
    pairs: tuple[Pair, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    scale: float = 1.0
    given: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    baseline: str = ALONE

    def cells(self, out: Path) -> tuple[Cell, ...]:
        """Every run: teachers first, then seed by seed, so that a whole table is there early.

        A student alone knows no teacher, so it is trained once for all pairs that it is in.

        Raises:
            Fault: a recipe's fields do not agree, a teacher is given that nobody asked for, or
                two names are one folder.
        """
        names = dict.fromkeys(pair.teacher for pair in self.pairs if self._taught)
        if strange := sorted(set(self.given) - set(names)):
            raise Fault(
                f"the teacher {strange[0]!r} is given, and is in no pair; there are"
                f" {', '.join(names) or 'none'}"
            )
        cells = {
            cell.folder: cell
            for cell in (self._teacher(name) for name in names if name not in self.given)
        }
        for seed in self.seeds:
            for pair in self.pairs:
                for method in self.methods:
                    cell = self._cell(pair, method, seed, out)
                    before = cells.setdefault(cell.folder, cell)
                    if before != cell:
                        one, other = _words(before), _words(cell)
                        raise Fault(f"{one} and {other} would share the folder {cell.folder}")
        return tuple(cells.values())

    @property
    def _taught(self) -> bool:
        return any(method != ALONE for method in self.methods)

    def _teacher(self, name: str) -> Cell:
        student = benchmark(self.dataset, None, self.pairs[0].student, ALONE, 0, **self.changes)
        same = {field: getattr(student, field) for field in ALIKE}
        recipe = teacher_of(self.dataset, name, self.scale, **same)
        return Cell(f"teachers/{folder_of(name)}", TEACHER, recipe)

    def _cell(self, pair: Pair, method: str, seed: int, out: Path) -> Cell:
        student = folder_of(pair.student)
        if method == ALONE:
            folder, source, teacher = f"alone/{student}/seed-{seed}", None, None
        else:
            teacher = pair.teacher
            folder = f"{folder_of(teacher)}--{student}/{folder_of(method)}/seed-{seed}"
            source = self._source(teacher, out)
        recipe = benchmark(
            self.dataset, source, pair.student, method, seed, self.scale, **self.changes
        )
        return Cell(folder, method, recipe, teacher=teacher)

    def _source(self, teacher: str, out: Path) -> str:
        if teacher in self.given:
            return f"{teacher}@{self.given[teacher]}"
        own_code = f"{teacher}@" if ":" in teacher else ""  # which no file may name by itself
        return f"{own_code}{out / 'teachers' / folder_of(teacher)}"

    def save(self, out: Path) -> None:
        """Write down what was asked for: by this a report knows a benchmark's folder."""
        write(out / NAME, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def load(cls, out: Path) -> "Grid | None":
        """What was asked for last in a folder, if it is a benchmark's.

        Raises:
            Fault: the file is damaged.
        """
        path = out / NAME
        try:
            fields = json.loads(path.read_text())
            fields["pairs"] = tuple(Pair(*pair) for pair in fields["pairs"])
            fields |= {name: tuple(fields[name]) for name in ("methods", "seeds")}
            return cls(**fields)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise Fault(
                f"{path} is damaged; delete it, and give relatum bench again with --resume"
            ) from error


def _words(cell: Cell) -> str:
    return " ".join(filter(None, [cell.teacher, cell.recipe.student, cell.recipe.method]))


def pairs_of(text: str | None, dataset: str) -> tuple[Pair, ...]:
    """Read ``wrn-40-2:wrn-16-2,resnet32x4:resnet8x4``.

    Args:
        text: pairs, or ``"all"`` for the benchmark's thirteen; ``None`` for the set's own pair,
            which for CIFAR-100 is one of the thirteen.
        dataset: the set.

    Raises:
        Fault: it is no list of pairs, or one of them is there twice.

    Example:
        >>> pairs_of("vgg13:vgg8, resnet56:my_file:make", "cifar100")
        (Pair(teacher='vgg13', student='vgg8'), Pair(teacher='resnet56', student='my_file:make'))
    """
    if text is None:
        teacher, student = standard(dataset)
        return (Pair(teacher.student, student.student),)
    if text == "all":
        return PAIRS
    found = tuple(_pair(each.strip()) for each in text.removesuffix(",").split(","))
    for pair in found:
        if found.count(pair) > 1:
            raise Fault(f"--pairs: {pair} is there twice")
    return found


def _pair(text: str) -> Pair:
    """Two names, each of which may hold a colon of its own."""
    cuts = [place for place, each in enumerate(text) if each == ":"]
    pairs = [Pair(text[:cut], text[cut + 1 :]) for cut in cuts]
    if len(pairs) > 1:
        pairs = [pair for pair in pairs if all(map(_nameable, pair))]
    if len(pairs) != 1 or not all(pairs[0]):
        raise Fault(f"--pairs wants TEACHER:STUDENT, such as resnet56:resnet20, got {text!r}")
    return pairs[0]


def _nameable(name: str) -> bool:
    """Whether a text can be the whole name of a network, and not half of one or more than one."""
    module, colon, function = name.partition(":")
    library = name.startswith(("timm/", "torchvision/"))
    if not colon:
        return name in MODELS or library
    if library:
        return function == "pretrained"
    return ":" not in function and bool(function) and module not in {*MODELS, "pretrained", ""}


def given_of(text: str | None) -> dict[str, str]:
    """Read ``wrn-40-2=runs/wrn,vgg13=vgg13.safetensors``.

    Raises:
        Fault: it is no such list, or a name is there twice.
    """
    found: dict[str, str] = {}
    for each in text.removesuffix(",").split(",") if text else ():
        name, equals, path = (part.strip() for part in each.partition("="))
        if not (name and equals and path):
            raise Fault(f"--teachers wants MODEL=PATH, got {each!r}")
        if name in found:
            raise Fault(f"--teachers: {name} is there twice")
        found[name] = path
    return found
