"""How hard each term of an objective pulls at the student: the norm of its gradient."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from relatum import world
from relatum.distiller import Distiller
from relatum.objective import Objective
from relatum.replay.fixed import generators
from relatum.sharding import sharded
from relatum.types import Batch, Captured

EMBEDDING = "embedding"


@dataclass
class Norms:
    """What a forward pass was heard to say, from which the norms are computed.

    Attributes:
        values: the norm of each term's gradient, by its name, on the device.
        places: the tap at which it was taken; empty where none of the student is reached.
    """

    values: dict[str, Tensor] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    def named(self) -> dict[str, Tensor]:
        """The values for a log: ``TERM`` at the embedding, elsewhere ``TERM@TAP``."""
        return {
            name if self.places[name] in ("", EMBEDDING) else f"{name}@{self.places[name]}": value
            for name, value in self.values.items()
        }


def gradient_norms(
    distiller: Distiller, batch: Batch, *, weighted: bool = True
) -> dict[str, Tensor]:
    r"""The norm of each term's gradient with respect to what the student says.

    .. math:: \left\| \frac{\partial\, w_i L_i}{\partial Z} \right\|_F

    :math:`Z` is the student's embedding of the whole batch (B×D), or, where the gradient of a
    term does not get there (a loss on feature maps, say), the tap that the term reads; of one
    whose view lays out tokens as a map, what is there before that. Norms at one place can be
    compared: a term with ten times the norm moves the embedding ten times as far. Those at
    different places cannot; ``measure_norms`` says which is where.

    One forward pass in the modes that the networks are in, one backward pass a term from the
    loss to that place, and none through the layers before it. Nothing of the distiller moves:
    statistics of BatchNorm, queues and banks, generators and torch's randomness are put back. Of
    several processes all call it, and get the norms of the gradient of the whole batch.

    Args:
        distiller: its objective's weights are those of the present step.
        batch: this process's samples.
        weighted: whether terms count at their weights, or as they are.

    Returns:
        By the name of the term, 0-d tensors on the device; 0 for a term without a gradient.

    Example:
        >>> from relatum.losses import RRKD
        >>> from relatum.objective import Term
        >>> from relatum.taps import Tap, Tapped
        >>> from relatum.teachers import Teacher
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> taps = {"embedding": Tap("1")}
        >>> teacher = Teacher(nn.Sequential(nn.Flatten(), nn.Linear(4, 8)), taps)
        >>> objective = Objective(rrkd=Term(RRKD(), on="embedding", weight=2.0))
        >>> distiller = Distiller(Tapped(network, taps), teacher, objective)
        >>> list(gradient_norms(distiller, Batch(torch.rand(5, 1, 2, 2), None, torch.arange(5))))
        ['rrkd']
    """
    return measure_norms(distiller, batch, weighted=weighted).values


def measure_norms(
    distiller: Distiller, batch: Batch, *, weighted: bool = True, at: str = EMBEDDING
) -> Norms:
    """As ``gradient_norms``, with the place at which each was taken: ``at`` a tap, or its own."""
    norms = Norms()
    teacher = distiller.teacher
    with put_back(distiller, batch), torch.enable_grad(), distiller.until():
        taught = None if teacher is None else teacher(batch)
        with listening(distiller, weighted=weighted) as heard:
            distiller.learner(batch, taught, distiller.taught_anchors())
        heard.take(norms, at)
    return norms


def obstacle(distiller: Distiller, microbatch: int | None, *, compiled: bool = False) -> str | None:
    """Why the norms cannot be taken along with the steps of a training, in a few words."""
    if compiled:
        return "the networks are compiled, and their graph has no place to stop at"
    if microbatch is not None:
        return "the batches go through the networks in parts (microbatch)"
    if sharded(distiller.learner):
        return "the student is held in parts"
    return None


class Heard:
    """One forward pass: its terms, still with their graph, and what the student said."""

    def __init__(self, distiller: Distiller, weighted: bool) -> None:
        self._distiller, self._weighted = distiller, weighted
        self._parts: list[Tensor] = []
        self._said: Captured | None = None
        self._batch: Batch | None = None
        self.unlaid: dict[int, tuple[Tensor, Tensor]] = {}

    def note_part(self, _: nn.Module, args: Any, part: Tensor) -> None:
        """A hook of a loss: what it returned."""
        self._parts.append(part)

    def note_said(self, _: nn.Module, args: Any, told: Any) -> None:
        """A hook of the learner: the batch, and what the student said of it."""
        self._batch, self._said = args[0], told[1]

    def take(self, norms: Norms, at: str = EMBEDDING) -> None:
        """Compute the norms; the graph stays, so a step can go on with its own backward pass.

        Nothing waits for the device, unless several processes do not know each other's shares.
        """
        assert self._said is not None
        assert self._batch is not None
        objective = self._distiller.objective
        assert len(self._parts) == len(objective.terms), "every loss is called once, in order"
        weights = _weights(objective) if self._weighted else {}
        squares: list[Tensor] = []
        for (name, term), part in zip(objective.terms.items(), self._parts, strict=True):
            whole = bool(getattr(term.loss, "relational", False))
            share = 1.0 if whole or world.size() == 1 else _share(self._batch)
            scaled = part * (weights.get(name, 1.0) * share)
            gradients, norms.places[name] = self._gradients(scaled, name, at)
            squares.append(_square(gradients, part))
        # DDP takes the mean of what the processes' losses give, each for its own rows
        count = world.size()
        values = (world.mean(torch.stack(squares)) / count).sqrt()
        norms.values.update(zip(objective.terms, values.unbind(), strict=True))

    def _gradients(self, part: Tensor, name: str, at: str) -> tuple[Sequence[Tensor], str]:
        """Of one term, at this tap or else at its own, and which of them it is."""
        on = self._distiller.objective.terms[name].on
        own = (on,) if isinstance(on, str) else on
        for place, names in ((at, tuple(at.split("+"))), ("+".join(own), own)):
            given = self._given(names)
            if not part.requires_grad or not given:
                continue
            found = torch.autograd.grad(part, given, retain_graph=True, allow_unused=True)
            if there := [each for each in found if each is not None]:
                return there, place
        return (), ""

    def _given(self, names: Sequence[str]) -> list[Tensor]:
        """What the student said at these taps, so far as it depends on something that learns.

        Of a tap that only lays out what is there, what was there: later layers go on with that, so
        terms that read those are felt at it too.
        """
        assert self._said is not None
        found: list[Tensor] = []
        for name in names:
            value = self._said.output if name == "output" else self._said.taps.get(name, ())
            values = (value,) if isinstance(value, Tensor) else value
            found.extend(self.unlaid.get(id(each), (each, each))[1] for each in values)
        return [each for each in found if each.requires_grad]


@contextmanager
def listening(distiller: Distiller, *, weighted: bool = True) -> Iterator[Heard]:
    """Hear one forward pass of the learner, whoever asks for it."""
    heard = Heard(distiller, weighted)
    with ExitStack() as hooks:
        for loss in dict.fromkeys(distiller.objective.losses.values()):
            hooks.callback(loss.register_forward_hook(heard.note_part).remove)
        hooks.callback(distiller.learner.register_forward_hook(heard.note_said).remove)
        hooks.callback(setattr, distiller.student, "unlaid", None)
        distiller.student.unlaid = heard.unlaid
        yield heard


def _weights(objective: Objective) -> Mapping[str, float | Tensor]:
    """As the objective has them at this step."""
    return {
        name: objective.weights[place] if callable(term.weight) else term.weight
        for place, (name, term) in enumerate(objective.terms.items())
    }


def _share(batch: Batch) -> float:
    """What this process's mean counts, as in the objective."""
    counts = batch.shares or world.counts(len(batch), batch.images.device)
    return counts[world.rank()] * len(counts) / sum(counts)


def _square(gradients: Sequence[Tensor], part: Tensor) -> Tensor:
    """The squared norm of all of them together, in float32 or better."""
    total = torch.zeros((), dtype=torch.float32, device=part.device)
    for each in gradients:
        exact = each.double() if each.dtype == torch.float64 else each.float()
        total = total + torch.linalg.vector_norm(exact).square()
    return total


@contextmanager
def put_back(distiller: Distiller, batch: Batch) -> Iterator[None]:
    """Have all that a forward pass moves as it was, afterwards."""
    learner, device = distiller.learner, batch.images.device
    # not the anchors: a write to them, if of the same, has the teacher encode them anew; and not by
    # versions: BatchNorm's kernels write its statistics without a word
    moving = (each for each in learner.buffers() if each is not learner.anchors)
    buffers = [(each, each.clone()) for each in moving]
    own = [(each, each.get_state()) for _, each in generators(learner)]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            with torch.no_grad():
                for each, before in buffers:
                    each.copy_(before)
            for drawing, state in own:
                drawing.set_state(state)
