"""Stop and resume: checkpoints, and the signals that ask for them."""

import contextlib
import hashlib
import io
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relatum import together, world
from relatum.distiller import Distiller
from relatum.fit import Position
from relatum.sharding import full_optimizer_state, full_state, load_full_optimizer_state
from relatum.tally import NotFinite
from relatum.types import Fault
from relatum.weights import load_state, write

FORMAT = 2
KEYS = {"format", "about", "stage", "position", "tally", "learner", "optimizer", "random"}


SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
]


class Interrupted(Exception):
    """The run was asked to stop, and its state is saved."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class Stop:
    """Whether someone asked to stop. A second Ctrl-C does not wait."""

    def __init__(self) -> None:
        self.signum: int | None = None

    def check(self) -> None:
        """Raise if so; on several processes, all of them, whichever was asked."""
        self.signum = together.most(self.signum or 0) or None
        if self.signum is not None:
            raise Interrupted(self.signum)


@contextlib.contextmanager
def stop_on_signals(stop: Stop | None = None) -> Iterator[Stop]:
    """SIGINT, SIGTERM and SIGUSR1 are noted for a while, so that a run can save at the next step.

    The last is how SLURM says, where it is asked to, that the time is nearly up.

    Args:
        stop: where to note them; a new one where none is given.
    """
    stop = stop or Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(signum: int, frame: Any) -> None:
        if stop.signum is not None and world.size() == 1:
            raise KeyboardInterrupt
        stop.signum = stop.signum or signum

    before = {each: signal.signal(each, note) for each in SIGNALS}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


_SIGNALLED = 1
"""What a wish to stop has more than the number of the signal."""


class Saver:
    """Keeps the checkpoint of a run: the learner, its optimiser, all randomness, the position.

    On several processes all call it, the first one writes and reads, and when to save, or to
    stop, is what any of them wishes. What was saved by so many can be gone on with by more or
    fewer: dropout then draws anew.

    Args:
        path: the one file that is written, again and again.
        distiller: its learner is saved, its teacher never.
        optimizer: over the learner's parameters.
        about: names and numbers that identify the run; a checkpoint about another is refused.
        stop: asked after every step.
        stage: which part of the run this is, where it has several.
        every: seconds between two checkpoints within an epoch.
        pause: seconds that an epoch's end must be later than the last checkpoint.
    """

    def __init__(
        self,
        path: Path,
        distiller: Distiller,
        optimizer: torch.optim.Optimizer,
        about: Mapping[str, Any],
        stop: Stop | None = None,
        *,
        stage: int = 0,
        every: float = 60.0,
        pause: float = 2.0,
    ) -> None:
        self.path = path
        self._distiller, self._optimizer = distiller, optimizer
        self._about, self._stop = dict(about), stop or Stop()
        self._stage, self._every, self._pause = stage, every, pause
        self._saved_at = time.monotonic()
        self._vote = together.Vote()

    def due(self) -> bool:
        """Whether a signal came, or enough time has passed.

        On several processes that is heard a step later, so that no step waits for it.
        """
        return self._agreed(self._vote(self._wish(self._every)))

    def epoch_ended(self, position: Position) -> None:
        """Save, unless the last checkpoint is only moments old and nobody asked to stop."""
        if self._agreed(together.most(max(self._wish(self._pause), self._vote.close()))):
            self.save(position)

    def _wish(self, after: float) -> int:
        """A signal's number, 1 where it is time, or 0."""
        if self._stop.signum is not None:
            return _SIGNALLED + self._stop.signum
        return int(together.first() and time.monotonic() - self._saved_at > after)

    def _agreed(self, wish: int) -> bool:
        if wish > _SIGNALLED:
            self._stop.signum = wish - _SIGNALLED
        return wish > 0

    def save(self, position: Position) -> None:
        """Write the checkpoint.

        Raises:
            NotFinite: a parameter is not finite; the last good checkpoint is kept.
            Interrupted: it is written, and the run was asked to stop.
            Fault: it cannot be written; the last one is kept.
        """
        learner = self._distiller.learner
        for name, value in learner.named_parameters():
            if not bool(value.isfinite().all()):
                raise NotFinite(
                    f"parameter {name!r} is not finite before step {position.step + 1} of epoch"
                    f" {position.epoch}; lower the learning rate"
                )
        state = {
            "format": FORMAT,
            "about": self._about,
            "stage": self._stage,
            "position": {"epoch": position.epoch, "step": position.step},
            "tally": dict(position.tally),
            "learner": full_state(learner),
            "optimizer": full_optimizer_state(self._optimizer),
            "random": together.all_of(_random_state()),
        }
        together.by_first(lambda: write(self.path, _packed(state)))
        self._saved_at = time.monotonic()
        self._agreed(self._vote.close())  # what was wished meanwhile is done
        self._stop.check()

    def restore(self) -> Position | None:
        """Go back to the checkpoint; ``None`` when there is none yet.

        Raises:
            Fault: the file is damaged, or it is of another run or another network.
        """
        state = together.by_first(self._read)
        if state is None or state["stage"] < self._stage:
            return None
        if state["format"] != FORMAT or state["about"] != self._about:
            difference = _difference(state["about"], self._about)
            raise Fault(f"{self.path} is of another run ({difference})")
        position = Position(**state["position"], tally=state["tally"])
        load_state(self._distiller.learner, state["learner"], self.path)
        load_full_optimizer_state(self._optimizer, state["optimizer"])
        for group in self._optimizer.param_groups:
            if isinstance(group["lr"], Tensor):  # stays where the file was read to
                group["lr"] = group["lr"].to(group["params"][0].device)
        _set_random_state(state["random"])
        return position

    def stage_reached(self) -> int:
        """Which stage the checkpoint is of; 0 when there is none."""
        return together.by_first(lambda: int((self._read() or {"stage": 0})["stage"]))

    def _read(self) -> dict[str, Any] | None:
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            if not set(state) >= KEYS:
                raise ValueError("fields are missing")
        except Exception as error:
            raise Fault(
                f"{self.path} is not a readable checkpoint ({type(error).__name__});"
                " delete it to begin again"
            ) from error
        return dict(state)


def about_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint says of its run; nothing where there is none, or it cannot be read.

    On several processes all call it, and the first one reads.
    """

    def read() -> dict[str, Any]:
        try:
            return dict(torch.load(path, map_location="cpu", weights_only=True)["about"])
        except Exception:  # whoever restores it says what is wrong
            return {}

    return together.by_first(read)


def _packed(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _random_state() -> dict[str, Any]:
    cuda = [torch.cuda.get_rng_state()] if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_random_state(states: Sequence[Mapping[str, Any]]) -> None:
    """Go on drawing as this process did, or, where there was none of its rank, in its own way."""
    if world.size() != len(states):
        digest = hashlib.blake2b(states[0]["cpu"].numpy().tobytes(), digest_size=4)
        digest.update(f"{world.rank()} of {world.size()}".encode())
        torch.manual_seed(int.from_bytes(digest.digest(), "big"))
        return
    state = states[world.rank()]
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"][0])


def _difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    for name in sorted(set(there) | set(here)):
        if there.get(name) != here.get(name):
            return f"{name}: {there.get(name)!r} there, {here.get(name)!r} here"
    return "another version of relatum wrote it"
