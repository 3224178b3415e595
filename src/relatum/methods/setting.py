"""What may be asked of a pair of networks, and what a method makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Size, Tensor, nn

from relatum.discovery import find_classifier
from relatum.losses import CrossEntropy
from relatum.objective import Objective, On, Term
from relatum.spelling import TASK as TASK
from relatum.taps import Tapped
from relatum.types import Fault, Shapes

Says = Literal["logits", "embedding", "reconstruction"]


@dataclass(frozen=True)
class Setting:
    """What may be asked of a pair of networks on a set, before anything is trained.

    Attributes:
        student: shapes of its output and taps on a dry batch.
        teacher: likewise; ``None`` where there is no teacher.
        student_says: what its output is.
        teacher_says: likewise.
        samples: how many the student is trained on.
        classes: how many the labels tell apart; ``None`` where there are no labels.
        same_classes: whether the teacher's logits mean the student's classes, as far as known.
        on: the tap that the terms shall read instead of their usual one.
        labels: of all training samples, in the set's order, where they may be used.
        batch: how many samples every batch has; ``None`` where the last one is shorter.
        student_network: the student itself, for methods that build on its parts.
        teacher_network: likewise.
        shares: what each of several teachers counts, of 1: their embeddings are the taps
            ``embedding_1``, ``embedding_2`` … beside the ``embedding`` of all. Empty for one.
    """

    student: Shapes
    teacher: Shapes | None
    student_says: Says
    teacher_says: Says | None
    samples: int
    classes: int | None
    same_classes: bool = True
    on: On | None = None
    labels: Tensor | None = None
    batch: int | None = None
    student_network: Tapped | None = None
    teacher_network: Tapped | None = None
    shares: tuple[float, ...] = ()

    def tap(self, usual: On, otherwise: str | None = None) -> On:
        """The tap to read: the one asked for, or the usual one, or else another.

        Raises:
            Fault: one of the networks has none of them.
        """
        wanted = [self.on] if self.on is not None else [usual, *([otherwise] if otherwise else [])]
        for on in wanted:
            names = {on} if isinstance(on, str) else set(on)
            if all(names <= each for each in self._taps()):
                return on
        student, teacher = (", ".join(sorted(each)) for each in self._taps())
        raise Fault(
            f"both networks need the tap {_named(wanted[0])}: the student has {student}, the"
            f" teacher {teacher}; name one that both have (METHOD@TAP)"
        )

    def layer(self, usual: str) -> On:
        """As ``tap``, for a loss that reads one layer.

        Raises:
            Fault: likewise, or the tap gives several.
        """
        on = self.tap(usual)
        self.widths(on)
        return on

    def vector(self, usual: str = "embedding") -> On:
        """As ``layer``, for a loss with a linear head.

        Raises:
            Fault: likewise, or the tap gives maps.
        """
        on = self.layer(usual)
        if any(len(size) != 2 for size in self.sizes(on)):
            raise Fault(f"this loss projects vectors, and {on!r} gives maps; choose another tap")
        return on

    def widths(self, on: On) -> tuple[int, int]:
        """Width of the student's and of the teacher's value there, behind the batch."""
        student, teacher = (Size(size[1:]).numel() for size in self.sizes(on))
        return student, teacher

    def sizes(self, on: On) -> list[Size]:
        """Shape of the student's and of the teacher's value there.

        Raises:
            Fault: there are several layers.
        """
        if not isinstance(on, str):
            raise Fault(f"this loss reads one tap, got {', '.join(on)}")
        sizes = [each[on] for each in self._pair()]
        if not all(isinstance(size, Size) for size in sizes):
            raise Fault(f"this loss reads one layer, and the tap {on!r} has several")
        return sizes  # type: ignore[return-value]

    def layers(self, on: On, teacher_on: On | None = None) -> list[tuple[Size, Size]]:
        """Shapes of the student's and of the teacher's maps there, layer by layer, no batch.

        Args:
            on: a tap of one layer or of several, or several taps.
            teacher_on: the teacher's, where it is called otherwise.

        Raises:
            Fault: a network lacks the tap, gives something else than maps there, or the two
                have not as many layers.
        """
        both = self._pair()
        students, teachers = (
            _maps(each, tap, who)
            for each, tap, who in zip(
                both, (on, teacher_on or on), ("student", "teacher"), strict=True
            )
        )
        if len(students) != len(teachers):
            raise Fault(
                f"layers are paired one to one: at {_named(on)} the student has {len(students)},"
                f" the teacher {len(teachers)}; name as many of both (METHOD@stage1&stage2)"
            )
        return list(zip(students, teachers, strict=True))

    def teacher_classifier(self) -> nn.Linear:
        """A copy, which does not learn, of what turns the teacher's embedding into its output.

        Raises:
            Fault: there is no such linear layer.
        """
        tapped = self.teacher_network
        path = None
        if tapped is not None:
            path = find_classifier(tapped.network, tapped.taps, directly=True)
        if tapped is not None and path is not None:
            found = tapped.network.get_submodule(path)
            assert isinstance(found, nn.Linear)
            # no deepcopy, which would take its hooks along and with them the whole network
            size, bias, weight = (found.in_features, found.out_features), found.bias, found.weight
            own = nn.Linear(*size, bias is not None, device="meta", dtype=weight.dtype)
            own.to_empty(device=weight.device).load_state_dict(found.state_dict())
            return own.requires_grad_(False)
        raise Fault(
            "this method uses the teacher's classifier, and this teacher does not end in a linear"
            " layer that reads its embedding"
        )

    def _taps(self) -> tuple[set[str], set[str]]:
        """What there is to read of both; a table of embeddings has a width and no output."""
        student, teacher = (set(each) for each in self._pair())
        silent = self.teacher_network is None and self.teacher_says == "embedding"
        return student, teacher - ({"output"} if silent else set())

    def _pair(self) -> tuple[Shapes, Shapes]:
        if self.teacher is None:
            raise Fault("this method learns from a teacher, but there is none")
        return self.student, self.teacher

    def _instead_of(self, name: str) -> str:
        """The way out, where a loss on logits cannot be had."""
        leave = f"leave {name} out"
        if self.student_says != "logits" or self.teacher_network is None or self.classes is None:
            return leave
        return f"{leave}, or train the teacher's classifier on these classes with 'relatum teach'"

    @property
    def supervised(self) -> bool:
        """Whether cross-entropy with the labels is to be had."""
        return self.classes is not None and self.student_says == "logits"

    @property
    def shares_classes(self) -> bool:
        """Whether both networks put out logits over the same classes."""
        return (
            self.student_says == self.teacher_says == "logits"
            and self.teacher is not None
            and self.student["output"] == self.teacher["output"]
            and self.student["output"] != (self.student["output"][0], 1)
            and self.same_classes
        )

    def logits(self, name: str) -> On:
        """Where a loss on logits reads them: the output, or the tap that was asked for.

        Raises:
            Fault: the networks do not give logits over the same classes, or there is no vector of
                one width where the tap was asked for.
        """
        if self.on is None and not self.shares_classes:
            raise Fault(
                f"{name} compares logits over the same classes: here the student gives"
                f" {_said(self.student_says, self.student)} and the teacher"
                f" {_said(self.teacher_says, self.teacher)}"
                f"{'' if self.same_classes else ' of other classes'}; {self._instead_of(name)}"
            )
        on = self.layer("output")
        student, teacher = self.sizes(on)
        if len(student) != 2 or student != teacher:
            raise Fault(
                f"{name} compares vectors of one width: {on!r} gives {_numbers(student)} of the"
                f" student and {_numbers(teacher)} of the teacher; name another tap"
            )
        return on


@dataclass(frozen=True)
class Stage:
    """A part of a training: what is minimised, for how long, and what learns.

    Attributes:
        objective: the terms.
        share: of the recipe's epochs, at least one of them: 1/8 are 30 of the benchmark's 240.
        only: the student's submodules that learn and are in training mode, by their paths;
            the rest of it stays as it is, statistics of BatchNorm and dropout too. ``None``
            for all of it.
        drifting: let the rest be in training mode all the same, so that its statistics move.
        learning_rate: instead of the recipe's.
        schedule: ``"constant"`` instead of the recipe's.
    """

    objective: Objective
    share: float = 1.0
    only: tuple[str, ...] | None = None
    drifting: bool = False
    learning_rate: float | None = None
    schedule: Literal["constant"] | None = None

    def epochs(self, whole: int) -> int:
        """How many, where the recipe has so many."""
        return max(1, round(self.share * whole)) if whole else 0


def task(setting: Setting, weight: float = 1.0) -> dict[str, Term]:
    """Cross-entropy at a weight, or nothing where there are no labels or no logits."""
    return {TASK: Term(CrossEntropy(), weight=weight)} if setting.supervised else {}


def distil(setting: Setting, terms: dict[str, Term], task_weight: float = 1.0) -> tuple[Stage, ...]:
    """One stage: the terms, and cross-entropy where there are labels."""
    return (Stage(Objective(**task(setting, task_weight), **terms)),)


def initialised(
    setting: Setting, name: str, terms: dict[str, Term], share: float = 1 / 8
) -> tuple[Stage, ...]:
    """Two stages: the terms alone at a constant learning rate, then cross-entropy alone.

    Raises:
        Fault: there are no labels for the second.
    """
    if not setting.supervised:
        raise Fault(
            f"{name} only initialises a student, which then learns from labels: it needs them, and"
            " a student with logits; at, nst and sp need neither"
        )
    first = Stage(Objective(**terms), share=share, schedule="constant")
    return first, Stage(Objective(**task(setting)))


def _maps(shapes: Shapes, on: On, who: str) -> list[Size]:
    found: list[Size] = []
    for name in (on,) if isinstance(on, str) else on:
        if name not in shapes:
            has = ", ".join(sorted(shapes))
            raise Fault(f"this method reads {name!r} of the {who}, which has {has}")
        value = shapes[name]
        found.extend(Size(each[1:]) for each in ([value] if isinstance(value, Size) else value))
    return found


def _numbers(size: Size) -> str:
    return "x".join(map(str, size[1:])) or "one number"


def _named(on: On) -> str:
    return repr(on) if isinstance(on, str) else " and ".join(map(repr, on))


def _said(says: str | None, shapes: Shapes | None) -> str:
    if says is None or shapes is None:
        return "nothing"
    size: Sequence[object] = shapes["output"]
    return {
        "logits": f"{size[-1]} logits",
        "reconstruction": "a reconstruction",
        "embedding": "an embedding",
    }[says]
