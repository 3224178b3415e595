"""The ways of taking a step that ``step.py`` sets side by side, ready to be called in turn."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
import usual_loop
from step_settings import ENDLESS, Settings
from usual_loop import LOSSES, Samples, UsualLoop

from relatum import Recipe, losses
from relatum.distiller import Distiller
from relatum.fit import Epoch, fit
from relatum.memory import unit_rows
from relatum.precision import half_here
from relatum.replay import Replay
from relatum.run.prepare import Prepared, optimizer_of, prepare
from relatum.speed import settle
from relatum.taps import Tap, Tapped
from relatum.teachers import Teacher
from relatum.types import Shapes

QUEUE = 16384
"""Of RRD, on its 50,000 images; of fewer, a queue is shorter."""
VIEWS = 2
"""Augmented views a sample that a cache holds here; how many changes nothing in a step."""
USUAL, CACHED, LAST, HALF = "usual", "cached teacher", "channels last", "bfloat16"
COMPILED = "fast + compiled"
"""As ``max``, without its CUDA graph."""


@dataclass
class Ours:
    """A training by relatum, as its command builds it from a recipe; each call is an epoch."""

    recipe: Recipe
    device: torch.device
    precision: torch.dtype = field(init=False)
    """Of the networks; read when the first epoch begins."""
    replay: Replay | None = field(init=False)
    """Likewise."""
    ready: Prepared = field(init=False)
    distiller: Distiller = field(init=False)

    def __post_init__(self) -> None:
        self.ready = prepare(self.recipe, self.device)
        stage = self.ready.stages[0]
        self.distiller, _ = self.ready.distiller(stage)
        for term in self.distiller.objective.terms.values():
            if isinstance(term.loss, losses.RRD):  # as long as with all images
                term.loss.queue = unit_rows(QUEUE, term.loss.queue.shape[1]).to(self.device)
        self.precision = self.ready.speed.precision
        self.replay = Replay() if self.ready.speed.replayed else None
        self._threads = torch.get_num_threads()
        self._epochs = self._fit()

    def _fit(self) -> Iterator[Epoch]:
        optimizer = optimizer_of(self.recipe, self.distiller)
        yield from fit(
            self.distiller,
            self.ready.batches,
            optimizer,
            self.recipe.schedule_of(),
            ENDLESS,
            precision=self.precision,
            replay=self.replay,
        )

    def __call__(self) -> object:
        """Train for an epoch."""
        settle(self.recipe.speed, self.device)
        torch.set_num_threads(self._threads)
        return next(self._epochs)


class Usual:
    """The straightforward loop, on the same networks and images; each call is so many steps."""

    def __init__(self, settings: Settings, ready: Prepared, workers: int) -> None:
        self.loop = usual(settings, ready)
        samples = samples_of(ready)
        self.batches: Iterator[Any] = usual_loop.endless(
            samples, settings.batch, workers, settings.device
        )
        self._steps, self._device = settings.steps, settings.device
        self.threads = torch.get_num_threads()

    def __call__(self) -> object:
        """Train for so many steps."""
        as_usual(self._device, self.threads)
        return self.loop.train(islice(self.batches, self._steps))

    def close(self) -> None:
        """End the loader's workers."""
        self.batches = iter(())


Way = Ours | Usual


def names_of(
    workers: Sequence[int],
    speeds: Sequence[str],
    cached: bool,
    chain: bool,
    device: torch.device,
) -> list[str]:
    """What the ways are called.

    Args:
        workers: of the straightforward loop's loader.
        speeds: of relatum.
        cached: also with a cached teacher.
        chain: also what lies between ``exact`` and ``fast``, one switch after the other.
        device: where.
    """
    names = [f"{USUAL}, {count} workers" for count in workers]
    between = [f"exact + {LAST}", *([f"exact + {LAST} + {HALF}"] if half_here(device) else [])]
    for speed in speeds:
        names.append(speed)
        if chain and speed == "exact":
            names.extend(between)
        if chain and speed == "fast" and device.type == "cuda":
            names.append(COMPILED)
    return [*names, *(f"{speed}, {CACHED}" for speed in speeds if cached)]


def built(settings: Settings, name: str) -> Way:
    """A way by its name."""
    if name.startswith(USUAL):
        ready = prepare(settings.recipe(), settings.device)
        return Usual(settings, ready, workers=int(name.removeprefix(f"{USUAL}, ").split()[0]))
    speed = "max" if name == COMPILED else name.partition(",")[0].partition(" ")[0]
    kept = {"cache": str(settings.folder / "cache"), "views": VIEWS} if CACHED in name else {}
    way = Ours(settings.recipe(speed=speed, **kept), settings.device)
    if LAST in name:
        assert isinstance(way.distiller.teacher, Teacher)
        for network in (way.distiller.student, way.distiller.teacher.tapped):
            network.channels_last()
    if HALF in name:
        way.precision = torch.bfloat16
    if name == COMPILED:
        way.replay = None
    return way


def kind_of(way: Way) -> str:
    """The type of number that a way multiplies."""
    kind = torch.float32 if isinstance(way, Usual) else way.precision
    return str(kind).removeprefix("torch.")


def usual(settings: Settings, ready: Prepared, rate: float = 0.05) -> UsualLoop:
    """The straightforward loop with copies of both networks."""
    pair = ready.pair
    large = pair.setting.teacher_network
    assert large is not None
    assert pair.setting.teacher is not None
    tap = LOSSES[settings.method][0]
    teacher, student = (deepcopy(each.network) for each in (large, pair.student))
    for network in (teacher, student):  # of the copies, the hooks that relatum reads by
        for module in network.modules():
            module._forward_hooks.clear()
            module._forward_pre_hooks.clear()
    student.to(memory_format=torch.contiguous_format)
    shapes = pair.setting.student, pair.setting.teacher
    return UsualLoop(
        student,
        teacher,
        settings.method,
        (_place(pair.student, tap), _place(large, tap)),
        (_width(shapes[0]), _width(shapes[1])),
        settings.device,
        rate,
    )


def _place(tapped: Tapped, name: str) -> Tap:
    place = tapped.taps[name]
    assert isinstance(place, Tap)
    return place


def _width(shapes: Shapes) -> int:
    width = shapes["embedding"][-1]
    assert isinstance(width, int)
    return width


def samples_of(ready: Prepared, augment: bool = True) -> Samples:
    """The images that relatum trains on, as the straightforward loop reads them."""
    train, input = ready.sets.train, ready.sets.input
    assert train.labels is not None
    images = train.images.cpu().permute(0, 2, 3, 1).contiguous().numpy()
    return Samples(images, train.labels.tolist(), input.mean, input.std, augment)


def as_usual(device: torch.device, threads: int) -> None:
    """Switches of the process as such a loop leaves them: torch's own, and cuDNN's trials."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = False
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = True
