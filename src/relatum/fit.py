"""The training loop, whole. Yields after every epoch; the caller decides what to do then."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from relatum.distiller import Distiller
from relatum.schedules import Schedule
from relatum.types import Batch, Fault

LOOK_EVERY = 50
"""Steps between two looks at the losses. What is not finite is seen within twice as many."""


class NotFinite(ArithmeticError):
    """Training went wrong: says at which step and in which term it began."""


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
    """

    number: int
    losses: Mapping[str, float]
    steps: int
    samples: int
    seconds: float


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
    start: Position | None = None,
    saver: Saver | None = None,
) -> Iterator[Epoch]:
    """Train, and yield after every epoch: ``for epoch in fit(...): evaluate(...)``.

    Nothing waits for the device inside an epoch: losses add up there, and the first that is
    not finite is found from a copy that arrives by itself.

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
        start: where to go on, as a checkpoint gave it.
        saver: keeps checkpoints while training.

    Raises:
        NotFinite: a loss became infinite or not a number; says at which step, in which term.
    """
    if precision not in (torch.float32, torch.bfloat16):
        raise Fault(f"fit runs networks in float32 or bfloat16, got {precision}")
    position = start or Position()
    step_of = _Step(distiller, optimizer, schedule, precision)
    steps = len(batches)
    for number in range(position.epoch, epochs + 1):
        began = time.perf_counter()
        distiller.train()
        first = position.step if number == position.epoch else 0
        tally = Tally(number, steps, position.tally if first else {})
        for step, batch in enumerate(batches.epoch(number, first), start=first):
            done = (number - 1) * steps + step
            tally.add(*step_of(batch, done / (epochs * steps)), len(batch))
            if saver is not None and saver.due():
                tally.look()
                saver.save(Position(number, step + 1, tally.state()))
        means, samples = tally.means()
        seconds = time.perf_counter() - began
        yield Epoch(number, means, steps, samples, seconds)
        if saver is not None:
            saver.epoch_ended(Position(number + 1))


class _Step:
    """One update: forward, backward, step."""

    def __init__(
        self,
        distiller: Distiller,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        precision: torch.dtype,
    ) -> None:
        self._distiller, self._optimizer = distiller, optimizer
        self._schedule, self._precision = schedule, precision
        self._factor: float | None = None
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

    def __call__(self, batch: Batch, progress: float) -> tuple[Mapping[str, Tensor], int]:
        self._set_learning_rate(self._schedule(progress))
        self._distiller.objective.at(progress)
        reduced = self._precision != torch.float32
        with torch.autocast(batch.images.device.type, self._precision, enabled=reduced):
            losses = self._distiller.losses(batch)
        losses.total.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return {**losses.parts, **losses.diagnostics}, len(losses.parts)


class Tally:
    """Adds up on the device what the losses of an epoch were, and finds the first bad one.

    The last ``LOOK_EVERY`` steps stand in a table on the device, one row a step; a full table
    is added to the sums and copied to the host, where it is looked at once it has arrived.
    """

    def __init__(self, epoch: int, steps: int, state: Mapping[str, Any]) -> None:
        self._epoch, self._steps = epoch, steps
        self._names: list[str] = list(state.get("names", []))
        self._terms: int = state.get("terms", 0)
        self._seen: int = state.get("seen", 0)
        self._sizes: list[int] = list(state.get("sizes", []))
        self._before: int = state.get("before", 0)
        self._table: Tensor | None = state.get("table")
        self._sums: Tensor | None = state.get("sums")
        self._arriving: tuple[Tensor, int, Any] | None = None

    def state(self) -> dict[str, Any]:
        """All of it, to go on from: resumed means have the same bits."""
        return {
            "names": self._names,
            "terms": self._terms,
            "seen": self._seen,
            "sizes": self._sizes,
            "before": self._before,
            "table": self._table,
            "sums": self._sums,
        }

    def add(self, values: Mapping[str, Tensor], terms: int, size: int) -> None:
        """Note one step: its values, of which the first ``terms`` are losses, and its samples."""
        row = list(values.values())
        device = row[0].device
        if self._table is None or self._sums is None:
            self._names, self._terms = list(values), terms
            self._table = torch.zeros(LOOK_EVERY, len(row), device=device)
            self._sums = torch.zeros(len(row), device=device)
        elif self._table.device != device:
            self._table, self._sums = self._table.to(device), self._sums.to(device)
        torch.stack([each.float() for each in row], out=self._table[len(self._sizes)])
        self._sizes.append(size)
        self._glance()
        if len(self._sizes) == LOOK_EVERY:
            self._turn_over()

    def _turn_over(self) -> None:
        """Add the table to the sums, send a copy to the host, begin a new one."""
        assert self._table is not None
        assert self._sums is not None
        count = len(self._sizes)
        if not count:
            return
        rows = self._table[:count]
        sizes = torch.tensor(self._sizes, dtype=rows.dtype).to(rows.device, non_blocking=True)
        self._sums = self._sums + (rows * sizes[:, None]).sum(0)
        self._send(rows)
        self._seen += sum(self._sizes)
        self._before += count
        self._sizes = []
        self._table = torch.zeros_like(self._table)
        self._glance()

    def _send(self, rows: Tensor) -> None:
        if self._arriving is not None:
            self.look()
        event = None
        if rows.is_cuda:
            host = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
            host.copy_(rows, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        else:
            host = rows
        self._arriving = (host, self._before, event)

    def _glance(self) -> None:
        """Look at what was sent, if it has arrived; never wait."""
        if self._arriving is not None:
            event = self._arriving[2]
            if event is None or event.query():
                self._look_at_sent()

    def _look_at_sent(self) -> None:
        if self._arriving is None:
            return
        host, before, event = self._arriving
        self._arriving = None
        if event is not None:
            event.synchronize()
        self._check(host, before)

    def look(self) -> None:
        """Wait for everything so far, and raise if something of it is not finite."""
        self._look_at_sent()
        if self._table is not None:
            self._check(self._table[: len(self._sizes)].cpu(), self._before)

    def _check(self, rows: Tensor, before: int) -> None:
        fine = rows[:, : self._terms].isfinite()
        if bool(fine.all()):
            return
        row = int((~fine).any(1).nonzero()[0])
        bad = [self._names[place] for place in (~fine[row]).nonzero().flatten().tolist()]
        step = (self._epoch - 1) * self._steps + before + row + 1
        kind = "not a number" if rows[row].isnan().any() else "infinite"
        whose = f"term {bad[0]!r}" if len(bad) == 1 else f"terms {', '.join(map(repr, bad))}"
        if step > 1 and len(bad) == self._terms > 1:  # the student is broken, so all of them are
            last = zip(self._names, rows[row - 1, : self._terms].tolist(), strict=False)
            were = ", ".join(f"{name} {value:.3g}" for name, value in last)
            whose = f"every term: the update of step {step - 1} broke the student"
            whose += f" (its losses: {were})" if row else ""
        raise NotFinite(
            f"the loss is {kind} since step {step} (epoch {self._epoch}) in {whose};"
            " lower the learning rate or that term's weight"
        )

    def means(self) -> tuple[dict[str, float], int]:
        """Means over the samples of the epoch, and how many those were."""
        if self._table is None:
            return {}, 0
        self._turn_over()
        self._look_at_sent()
        assert self._sums is not None
        return dict(zip(self._names, (self._sums / self._seen).tolist(), strict=True)), self._seen
