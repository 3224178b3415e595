"""A weighted sum of losses, each bound to the taps that it reads.

The only place that knows of ranks: a loss that couples samples gets the batch of all
processes, so the same training comes out on one of them and on sixty-four.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from relatum import world
from relatum.schedules import Schedule
from relatum.types import Batch, Captured, Fault, Images, Value

On = str | tuple[str, ...]
NEEDS = (
    *("student", "teacher", "labels", "indices", "images"),
    *("student_anchors", "teacher_anchors"),
)
"""What a loss may ask for, by naming it in ``forward``."""


@dataclass(frozen=True, slots=True)
class Term:
    """One loss of an objective: what it is, what it reads, how much it counts.

    Attributes:
        loss: any module whose ``forward`` names its needs: ``student``, ``teacher``,
            ``labels``, ``indices``, ``images`` (as the student is given them),
            ``student_anchors``, ``teacher_anchors``. Those with a default are optional.
        on: the tap that it reads of both networks, or several, which come as a tuple;
            ``"output"`` is what the network itself returns.
        weight: a number, or a function of the progress of training, which runs from 0 to 1.
        teacher_on: the teacher's tap, where it is called otherwise.
    """

    loss: nn.Module
    on: On = "output"
    weight: float | Schedule = 1.0
    teacher_on: On | None = None

    def tap(self, need: str) -> On:
        """Where this term reads what it calls ``student``, ``teacher_anchors`` and so on."""
        if need.startswith("teacher") and self.teacher_on is not None:
            return self.teacher_on
        return self.on

    def weight_at(self, progress: float) -> float:
        """How much it counts at this point of the training."""
        return self.weight(progress) if callable(self.weight) else self.weight


@dataclass(frozen=True, slots=True)
class Losses:
    """What an objective makes of one batch.

    Attributes:
        total: what is minimised.
        parts: every term before its weight, detached: for the log.
        diagnostics: what losses tell of themselves (``"term.name"``), likewise.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Anchors:
    """What both networks make of the fixed anchors."""

    student: Captured
    teacher: Captured | None


class Objective(nn.Module):
    """The sum of its terms, each at its weight.

    Args:
        terms: by the names that the log will use.

    Raises:
        Fault: there is no term, a term asks for something that does not exist, its loss is no
            module, or its name is one that no module can bear (with a dot, or ``"keys"``).

    Example:
        >>> from relatum.losses import SP, CrossEntropy
        >>> objective = Objective(
        ...     task=Term(CrossEntropy()),
        ...     sp=Term(SP(), on="maps", weight=3000.0),
        ... )
        >>> objective.needs("labels"), objective.reads("teacher")
        (True, {'maps'})
    """

    weights: Tensor

    def __init__(self, **terms: Term) -> None:
        super().__init__()
        if not terms:
            raise Fault("an objective needs at least one term")
        self.terms = terms
        self.losses = _modules(terms)
        self._needs = {name: _needs(name, term.loss) for name, term in terms.items()}
        self._scheduled = any(callable(term.weight) for term in terms.values())
        losses: list[Any] = [each.loss for each in terms.values()]
        self._moving = [loss for loss in losses if callable(getattr(loss, "at", None))]
        weights = [term.weight_at(0.0) for term in terms.values()]
        self.register_buffer("weights", torch.tensor(weights), persistent=False)

    def needs(self, need: str, term: str | None = None) -> bool:
        """Whether some term, or this one, cannot do without this (one of ``NEEDS``)."""
        asked = self._needs.values() if term is None else [self._needs[term]]
        return any(needs.get(need, False) for needs in asked)

    def accepts(self, need: str) -> bool:
        """Whether some term would use this."""
        return any(need in needs for needs in self._needs.values())

    def reads(self, network: str) -> set[str]:
        """The taps that the terms read of the ``"student"`` or of the ``"teacher"``."""
        return self._read(network) - {"output"}

    def reads_output(self, network: str) -> bool:
        """Whether some term reads what the ``"student"`` or the ``"teacher"`` itself returns."""
        return "output" in self._read(network)

    def _read(self, network: str) -> set[str]:
        found: set[str] = set()
        for name, term in self.terms.items():
            for need in self._needs[name]:
                if need.startswith(network):
                    on = term.tap(need)
                    found.update((on,) if isinstance(on, str) else on)
        return found

    def at(self, progress: float) -> None:
        """Set the weights for this point of the training; nothing happens to constant ones.

        A loss that itself changes as training proceeds has a method ``at``, which is told too.
        """
        for loss in self._moving:
            loss.at(progress)
        if self._scheduled:
            weights = [term.weight_at(progress) for term in self.terms.values()]
            self.weights.copy_(torch.tensor(weights), non_blocking=True)

    def forward(
        self,
        student: Captured,
        teacher: Captured | None,
        batch: Batch,
        images: Images,
        anchors: Anchors | None = None,
    ) -> Losses:
        """Both networks' values on one batch to its losses.

        Args:
            student: what the student said.
            teacher: what the teacher said, or ``None`` where no term asks for it.
            batch: the samples themselves.
            images: as the student was given them, normalised.
            anchors: what both made of the fixed anchors, if there are any.
        """
        desk = _Desk(student, teacher, batch, images, anchors)
        totals: list[Tensor] = []
        parts: dict[str, Tensor] = {}
        diagnostics: dict[str, Tensor] = {}
        for place, (name, term) in enumerate(self.terms.items()):
            whole = desk.alone or bool(getattr(term.loss, "relational", False))
            values: dict[str, Value] = {}
            for need, required in self._needs[name].items():
                value = desk.find(need, term, whole)
                if value is None and required:
                    raise Fault(f"term {name!r} needs {need}, but there are none")
                if value is not None:
                    values[need] = value
            part = _scalar(name, term.loss(**values))
            if not whole:
                part = part * desk.share
            parts[name] = part.detach()
            weight = self.weights[place] if callable(term.weight) else term.weight
            totals.append(weight * part)
            for each in getattr(term.loss, "diagnostics", ()):
                told = getattr(term.loss, each).detach()
                diagnostics[f"{name}.{each}"] = told if whole else told * desk.share
        total = totals[0] if len(totals) == 1 else torch.stack(totals).sum()
        return Losses(total, parts, diagnostics)


class _Desk:
    """Hands out what terms ask for: this process's part, or the batch of all, gathered once."""

    def __init__(
        self,
        student: Captured,
        teacher: Captured | None,
        batch: Batch,
        images: Images,
        anchors: Anchors | None,
    ) -> None:
        self._captured = {
            "student": student,
            "teacher": teacher,
            "student_anchors": anchors.student if anchors else None,
            "teacher_anchors": anchors.teacher if anchors else None,
        }
        self._plain = {"labels": batch.labels, "indices": batch.indices, "images": images}
        self._gathered: dict[tuple[str, str], Tensor] = {}
        self.alone = world.size() == 1
        self._counts = () if self.alone else _counts(batch, images.device)

    @property
    def share(self) -> float:
        """What a local mean counts, so that DDP's mean over ranks is that of all samples."""
        return self._counts[world.rank()] * len(self._counts) / sum(self._counts)

    def find(self, need: str, term: Term, whole: bool) -> Value | None:
        if need in self._plain:
            plain = self._plain[need]
            return plain if plain is None else self._whole((need, ""), plain, whole)
        captured = self._captured[need]
        if captured is None:
            return None
        on = term.tap(need)
        value = captured.read(on)
        if need.endswith("anchors"):  # the same on all processes
            return value
        key = on if isinstance(on, str) else "+".join(on)
        if isinstance(value, tuple):
            return tuple(
                self._whole((need, f"{key}[{place}]"), each, whole)
                for place, each in enumerate(value)
            )
        return self._whole((need, key), value, whole)

    def _whole(self, key: tuple[str, str], rows: Tensor, whole: bool) -> Tensor:
        if self.alone or not whole:
            return rows
        if key not in self._gathered:
            self._gathered[key] = world.gather(rows, self._counts)
        return self._gathered[key]


def _counts(batch: Batch, device: torch.device) -> tuple[int, ...]:
    """How many samples every process holds, as the batch says it or as they are asked."""
    if batch.shares is None:
        return world.counts(len(batch), device)
    if len(batch.shares) != world.size() or batch.shares[world.rank()] != len(batch):
        place = f"process {world.rank()} of {world.size()}"
        raise Fault(f"{place} has {len(batch)} samples of a batch that is shared as {batch.shares}")
    return batch.shares


def _scalar(name: str, part: Tensor) -> Tensor:
    """Refuse a loss that gives anything but one number."""
    if isinstance(part, Tensor) and part.ndim == 0:
        return part
    got = f"shape {tuple(part.shape)}" if isinstance(part, Tensor) else type(part).__name__
    raise Fault(
        f"term {name!r}: a loss gives one number (a scalar tensor, as by .mean()), got {got}"
    )


def _modules(terms: Mapping[str, Term]) -> nn.ModuleDict:
    losses = nn.ModuleDict()
    for name, term in terms.items():
        if not isinstance(term.loss, nn.Module):
            raise Fault(f"term {name!r}: its loss must be a torch.nn.Module, got {term.loss!r}")
        try:
            losses[name] = term.loss
        except KeyError as error:
            raise Fault(f"the name {name!r} can be no term's: {error.args[0]}") from error
    return losses


def _needs(name: str, loss: nn.Module) -> dict[str, bool]:
    """What a loss's ``forward`` asks for, and whether it must have it."""
    needs: dict[str, bool] = {}
    for each in inspect.signature(loss.forward).parameters.values():
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            continue
        required = each.default is each.empty
        if each.name in NEEDS:
            needs[each.name] = required
        elif required:
            raise Fault(
                f"term {name!r}: {type(loss).__name__}.forward asks for {each.name!r};"
                f" a loss can ask for {', '.join(NEEDS)}"
            )
    if not needs:
        raise Fault(f"term {name!r}: {type(loss).__name__}.forward asks for none of {NEEDS}")
    return needs
