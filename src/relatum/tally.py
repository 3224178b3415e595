"""What the losses of an epoch add up to, and the first of them that is not finite."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from relatum import world

LOOK_EVERY = 50
"""Steps between two looks at the losses. What is not finite is seen within twice as many."""


class NotFinite(ArithmeticError):
    """Training went wrong: says at which step and in which term it began."""


class Tally:
    """Adds up on the device what the losses of an epoch were, and finds the first bad one.

    The last ``LOOK_EVERY`` steps stand in a table on the device, one row a step; a full table
    is added to the sums and copied to the host, where it is looked at once it has arrived. On
    several processes its rows are their means, and all look at the same time, at the next full
    table, so that all stop at the same step.
    """

    def __init__(self, epoch: int, steps: int, state: Mapping[str, Any]) -> None:
        self._epoch, self._steps = epoch, steps
        self._names: list[str] = list(state.get("names", []))
        self._terms: int = state.get("terms", 0)
        self._seen: int = state.get("seen", 0)
        self._sizes: list[int] = list(state.get("sizes", []))
        self._before: int = state.get("before", 0)
        self._averaged: int = state.get("averaged", 0)
        self._table: Tensor | None = state.get("table")
        self._sums: Tensor | None = state.get("sums")
        self._arriving: tuple[Tensor, int, Any] | None = None
        self.first: dict[str, Tensor] = dict(state.get("first", {}))
        """What was noted of the first step alone, by name: 0-d tensors."""

    def state(self) -> dict[str, Any]:
        """All of it, to go on from: resumed means have the same bits."""
        return {
            "names": self._names,
            "terms": self._terms,
            "seen": self._seen,
            "sizes": self._sizes,
            "before": self._before,
            "averaged": self._averaged,
            "table": self._table,
            "sums": self._sums,
            "first": self.first,
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
        self._average()
        rows = self._table[:count]
        sizes = torch.tensor(self._sizes, dtype=rows.dtype).to(rows.device, non_blocking=True)
        self._sums = self._sums + (rows * sizes[:, None]).sum(0)
        self._send(rows)
        self._seen += sum(self._sizes)
        self._before += count
        self._sizes, self._averaged = [], 0
        self._table = torch.zeros_like(self._table)
        self._glance()

    def _average(self) -> None:
        """Put the means over all processes in place of the rows that are not means yet."""
        assert self._table is not None
        if world.size() > 1 and self._averaged < len(self._sizes):
            rows = self._table[self._averaged : len(self._sizes)]
            rows.copy_(world.mean(rows))
            self._averaged = len(self._sizes)

    def _send(self, rows: Tensor) -> None:
        self._look_at_sent()
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
        if self._arriving is not None and world.size() == 1:
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
            self._average()
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

    def first_values(self) -> dict[str, float]:
        """What was noted of the first step, read at the end of the epoch, in one transfer."""
        if not self.first:
            return {}
        values: list[float] = torch.stack(list(self.first.values())).tolist()
        return dict(zip(self.first, values, strict=True))
