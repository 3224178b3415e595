"""The training loop, whole. Yields after every epoch; the caller decides what to do then."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from relatum import world
from relatum.accumulate import accumulate
from relatum.distiller import Distiller
from relatum.gradient_norms import Norms, listening
from relatum.objective import Losses
from relatum.profiling import arriving, label, labelled, region
from relatum.replay import Replay
from relatum.replay.step import Row
from relatum.schedules import Schedule
from relatum.tally import Tally
from relatum.types import Batch, Fault


class Source(Protocol):
    """Where batches come from: every epoch a function of its number alone."""

    def __len__(self) -> int:
        """Steps in an epoch."""
        ...

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from a step on."""
        ...


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the data did.

    Attributes:
        number: from 1.
        losses: every term before its weight, and what losses tell of themselves: means over
            the samples.
        steps: updates in this epoch.
        samples: how many samples they saw.
        seconds: that the pass took, what the caller did between epochs not counted.
        gradient_norms: of every term at the first step, where they were asked for
            (``relatum.gradient_norms``).
    """

    number: int
    losses: Mapping[str, float]
    steps: int
    samples: int
    seconds: float
    gradient_norms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Position:
    """Where in its training a run is: before ``step`` (from 0) of ``epoch`` (from 1)."""

    epoch: int = 1
    step: int = 0
    tally: Mapping[str, Any] = field(default_factory=dict)
    """What the losses added up to so far in this epoch."""


class Saver(Protocol):
    """Keeps checkpoints; ``relatum.checkpoint.Saver`` is one."""

    def due(self) -> bool:
        """Whether it is time for one, asked after every step."""
        ...

    def save(self, position: Position) -> None:
        """Keep one. May raise, when the run was asked to stop."""
        ...

    def epoch_ended(self, position: Position) -> None:
        """An epoch ended, and its caller has dealt with it."""
        ...


def fit(
    distiller: Distiller,
    batches: Source,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    epochs: int,
    *,
    precision: torch.dtype = torch.float32,
    microbatch: int | None = None,
    start: Position | None = None,
    saver: Saver | None = None,
    replay: Replay | None = None,
    norms: Norms | None = None,
) -> Iterator[Epoch]:
    """Train, and yield after every epoch: ``for epoch in fit(...): evaluate(...)``.

    Nothing waits for the device inside an epoch: losses add up there, and the first that is
    not finite is found from a copy that arrives by itself.

    On several processes, each calls this with its part of every batch
    (``Batches(shared=True)``): DDP averages the gradients, the running statistics of BatchNorm
    are averaged after every step, and what is yielded, or raised for a loss that is not finite,
    is the same on all of them.

    Args:
        distiller: what is trained.
        batches: where the samples come from.
        optimizer: over ``distiller.parameters()``. Where its learning rate is a tensor, that
            is written in place.
        schedule: what the optimiser's own learning rate is multiplied by, as a function of
            the progress of training, which runs from 0 to 1.
        epochs: how many in all.
        precision: ``torch.bfloat16`` runs the networks under autocast; the maths of the
            losses stays in float32.
        microbatch: samples that go through the networks at a time, on each process, where a
            batch is larger (``relatum.accumulate``); all at once by default.
        start: where to go on, as a checkpoint gave it.
        saver: keeps checkpoints while training.
        replay: plays steps from a recording of one, on a CUDA device; where that cannot be, it
            says so (``replay.obstacle``), and the training is as without it.
        norms: filled, at the first step of every epoch, with the norm of each term's gradient;
            the training stays the same, to the bit. Steps that are compiled, replayed or taken in
            microbatches have none (``relatum.gradient_norms.obstacle``).

    Raises:
        NotFinite: a loss became infinite or not a number; says at which step, in which term.
    """
    if precision not in (torch.float32, torch.bfloat16):
        raise Fault(f"fit runs networks in float32 or bfloat16, got {precision}")
    position = start or Position()
    step_of = _Step(distiller, optimizer, schedule, precision, microbatch)
    epoch_of, update = _by(step_of, batches, replay)
    if replay is not None and replay.obstacle is None:
        norms = None
    label(teacher=distiller.teacher)
    label(**{f"losses/{name}": loss for name, loss in distiller.objective.losses.items()})
    steps = len(batches)
    try:
        for number in range(position.epoch, epochs + 1):
            began = time.perf_counter()
            distiller.train()
            first = position.step if number == position.epoch else 0
            tally = Tally(number, steps, position.tally if first else {})
            for step, batch in enumerate(arriving(epoch_of(number, first)), start=first):
                with region("step"):
                    step_of.at(((number - 1) * steps + step) / (epochs * steps))
                    step_of.norms = None if step else norms
                    tally.add(*update(batch), batch.whole)
                    if norms is not None and not step:
                        tally.first = norms.named()
                if saver is not None and saver.due():
                    _save(saver, tally, number, step + 1)
            with region("wait"):
                means, samples = tally.means()
            seconds = time.perf_counter() - began
            yield Epoch(number, means, steps, samples, seconds, tally.first_values())
            if saver is not None:
                with region("checkpoint"):
                    saver.epoch_ended(Position(number + 1))
    finally:
        if replay is not None:
            replay.end()


def _by(
    step_of: "_Step", batches: Source, replay: Replay | None
) -> tuple[Callable[[int, int], Iterator[Any]], Callable[[Any], Row]]:
    """Where an epoch's batches come from, and what takes a step with one."""
    if replay is None or not step_of.replayed(replay, batches):
        return batches.epoch, step_of.update
    return replay.epoch, replay


@labelled("checkpoint")
def _save(saver: Saver, tally: Tally, epoch: int, step: int) -> None:
    tally.look()
    saver.save(Position(epoch, step, tally.state()))


class _Step:
    """One update: forward, backward, step."""

    def __init__(
        self,
        distiller: Distiller,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        precision: torch.dtype,
        microbatch: int | None,
    ) -> None:
        self._distiller, self._optimizer = distiller, optimizer
        self._schedule, self._precision = schedule, precision
        self._microbatch = microbatch
        self._factor: float | None = None
        self._layers = _norms(distiller.student.network)
        self.norms: Norms | None = None
        optimizer.zero_grad(set_to_none=True)  # what somebody's backward left behind
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", float(group["lr"]))

    def _set_learning_rate(self, factor: float) -> None:
        if factor == self._factor:
            return
        self._factor = factor
        for group in self._optimizer.param_groups:
            rate = group["initial_lr"] * factor
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def at(self, progress: float) -> None:
        """Set what depends on how far the training is: all of it lies in tensors."""
        self._set_learning_rate(self._schedule(progress))
        self._distiller.objective.at(progress)

    def replayed(self, replay: Replay, batches: object) -> bool:
        """Whether the updates are taken by a replay from now on."""
        given = (self._distiller, self._optimizer, batches, self.update, self._microbatch)
        return replay.begin(*given)

    def update(self, batch: Batch) -> Row:
        """What can be recorded: it reads tensors, and no number of Python that changes."""
        losses = self._backward(batch)
        with region("update"):
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        world.average(_statistics(self._layers))
        return {**losses.parts, **losses.diagnostics}, len(losses.parts)

    def _backward(self, batch: Batch) -> Losses:
        def cast() -> AbstractContextManager[object]:
            reduced = self._precision != torch.float32
            return torch.autocast(batch.images.device.type, self._precision, enabled=reduced)

        if self._microbatch is not None:
            shares = batch.shares or world.counts(len(batch), batch.images.device)
            batch = replace(batch, shares=shares)  # so that nobody asks the others again
            if self._microbatch < max(shares):  # on all processes, or on none
                with region("backward"):  # but for the networks and the terms, which say so
                    return accumulate(self._distiller, batch, self._microbatch, cast)
        self._distiller.spread(batch, cast)
        listens = nullcontext() if self.norms is None else listening(self._distiller)
        with cast(), listens as heard:
            losses = self._distiller.losses(batch)
        with region("backward"):
            if self.norms is not None and heard is not None:
                heard.take(self.norms)
            losses.total.backward()  # type: ignore[no-untyped-call]
        return losses


def _norms(network: nn.Module) -> list[nn.modules.batchnorm._NormBase]:
    """The layers that gather statistics of the samples of their process alone."""
    kind = nn.modules.batchnorm._NormBase
    every = (each for each in network.modules() if isinstance(each, kind))
    return [each for each in every if not isinstance(each, nn.SyncBatchNorm)]


def _statistics(norms: Sequence[nn.modules.batchnorm._NormBase]) -> Iterator[Tensor]:
    """What moved in this step: a mean of equal numbers would round those of layers at rest."""
    pairs = ((each.running_mean, each.running_var) for each in norms if each.training)
    return (buffer for pair in pairs for buffer in pair if buffer is not None)
