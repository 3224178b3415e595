"""What may be asked of a pair of networks, before a method makes something of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from torch import Size, Tensor, nn

from relatum.discovery import find_classifier
from relatum.method_names import Options
from relatum.objective import On
from relatum.taps import Tapped
from relatum.types import Fault, Shapes

Says = Literal["logits", "embedding", "reconstruction"]
Loss = TypeVar("Loss", bound=nn.Module)


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
        options: what the method's own loss shall be built with instead of its usual numbers.
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
    options: Options = ()
    labels: Tensor | None = None
    batch: int | None = None
    student_network: Tapped | None = None
    teacher_network: Tapped | None = None
    shares: tuple[float, ...] = ()

    def build(self, loss: type[Loss], *fitted: Any, **usual: Any) -> Loss:
        """A method's own loss, with the options that somebody asks for in place of the usual ones.

        A method builds by it the loss that its line names (``Method.loss``), and that alone: what
        it adds besides, as soft targets, is called as it is.

        Args:
            loss: the class.
            fitted: what is read off the networks, as widths. No option changes that.
            usual: the method's numbers, by name; those that are the class's own are left out.

        Example:
            >>> from relatum.losses import KD
            >>> asked = (("temperature", 8),)
            >>> setting = Setting({}, None, "logits", None, samples=60, classes=10, options=asked)
            >>> setting.build(KD, temperature=1.0)
            KD(temperature=8)
        """
        return loss(*fitted, **{**usual, **dict(self.options)})

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
            f"both networks need the tap {named(wanted[0])}: the student has {student}, the"
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
            layers_of(each, tap, who)
            for each, tap, who in zip(
                both, (on, teacher_on or on), ("student", "teacher"), strict=True
            )
        )
        if len(students) != len(teachers):
            raise Fault(
                f"layers are paired one to one: at {named(on)} the student has {len(students)},"
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


def layers_of(shapes: Shapes, on: On, who: str) -> list[Size]:
    """Shapes of one network's layers at a tap or at several, without the batch.

    Raises:
        Fault: it lacks the tap; says of whom (``who``), and what it has.
    """
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


def named(on: On) -> str:
    """A tap or several, as messages name them."""
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
