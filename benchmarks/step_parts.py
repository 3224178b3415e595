"""Where the time of a step goes: its parts, one after the other, each by itself.

On a GPU every part is waited for, so their sum is more than the step takes where they overlap, or
where the whole step is one CUDA graph: what is timed is then the same work before it is recorded.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from floor import settle
from step_ways import Ours, Usual, as_usual

from relatum.run.prepare import optimizer_of
from relatum.speed import settle as settle_speed
from relatum.tally import Tally

PARTS = ("data", "teacher", "student", "losses", "backward", "update", "tally")
Seconds = dict[str, list[float]]


class Laps:
    """Seconds between one moment and the next, by name."""

    def __init__(self, device: torch.device) -> None:
        self.taken: Seconds = {name: [] for name in PARTS}
        self._device = device
        self._since = self._now()

    def _now(self) -> float:
        settle(self._device)
        return time.perf_counter()

    def end(self, name: str) -> None:
        """Note a lap, and begin the next."""
        now = self._now()
        self.taken[name].append(now - self._since)
        self._since = now


def of_ours(way: Ours) -> Callable[[], Seconds]:
    """Relatum's parts: what gives those of an epoch whenever it is called."""
    distiller, ready = way.distiller, way.ready
    optimizer = optimizer_of(way.recipe, distiller)
    numbers = iter(range(1, 10**6))

    def cast() -> AbstractContextManager[object]:
        enabled = way.precision != torch.float32
        return torch.autocast(way.device.type, way.precision, enabled=enabled)

    def epoch() -> Seconds:
        settle_speed(way.recipe.speed, way.device)
        distiller.train()
        student, teacher = distiller.student, distiller.teacher
        assert teacher is not None
        tally, laps = Tally(1, len(ready.batches), {}), Laps(way.device)
        for batch in ready.batches.epoch(next(numbers)):
            laps.end("data")
            with distiller.until(), cast():
                taught = teacher(batch)
                laps.end("teacher")
                images = student.prepare(batch.images)
                said = distiller.learner.say(images)
                laps.end("student")
                losses = distiller.objective(said, taught, batch, images)
                laps.end("losses")
            losses.total.backward()
            laps.end("backward")
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            laps.end("update")
            tally.add(losses.parts, len(losses.parts), len(batch))
            laps.end("tally")
        return laps.taken

    return epoch


def of_usual(way: Usual, steps: int) -> Callable[[], Seconds]:
    """The straightforward loop's parts, in the order in which it does them."""

    def epoch() -> Seconds:
        loop = way.loop
        as_usual(loop.device, way.threads)
        loop.student.train()
        laps = Laps(loop.device)
        for _ in range(steps):
            images, labels = (each.to(loop.device) for each in next(way.batches))
            laps.end("data")
            with torch.no_grad():
                taught, _ = loop.teacher(images)
            laps.end("teacher")
            said, logits = loop.student(images)
            laps.end("student")
            total = F.cross_entropy(logits, labels) + loop.weight * loop.loss(said, taught)
            laps.end("losses")
            loop.optimizer.zero_grad()
            total.backward()
            laps.end("backward")
            loop.optimizer.step()
            laps.end("update")
            total.item()
            laps.end("tally")
        return laps.taken

    return epoch
