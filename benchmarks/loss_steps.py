"""What ``loss_cost.py`` times: a pair of networks, and every method's losses on what they said."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from relatum.losses import CrossEntropy
from relatum.methods import METHODS, TASK, Setting
from relatum.models import create
from relatum.models.simkd import SimKDStudent
from relatum.objective import Objective, Term
from relatum.precision import HALVES
from relatum.speed import Word, settle, speed
from relatum.taps import Tapped, Taps, shapes
from relatum.teachers import Teacher
from relatum.types import Batch, Captured, Value

TEACHER, STUDENT = "resnet32x4", "resnet8x4"
CLASSES, SIDE, SAMPLES, FORWARD = 100, 32, 50_000, 64
"""Of CIFAR-100; and how many images go through the networks at a time to get their taps."""
SPEEDS: tuple[Word, ...] = ("exact", "fast")
OPTIMISER = {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}
"""The benchmark's."""
LATE = 0.5
"""The progress of training at which weights are taken: after every warm-up."""

Work = Callable[[], object]
Around = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Pair:
    """Both networks at a speed, and what they run in.

    Attributes:
        student: the one that learns.
        teacher: the other one, as it speaks at this speed.
        whole: that one with its BatchNorm, which some methods read.
        around: what the student's forward pass runs in, such as autocast.
    """

    student: Tapped
    teacher: Teacher
    whole: Teacher
    around: Around


def pair(word: Word, device: torch.device) -> Pair:
    """The networks, the same at every speed, with random weights and statistics of some images."""
    torch.manual_seed(0)
    student, teacher = _created(STUDENT), _created(TEACHER)
    with torch.no_grad():  # so that the teacher's maps are of the usual size
        teacher.train()(torch.randn(FORWARD, 3, SIDE, SIDE))
    learner = Tapped(student.train(), _taps(student)).to(device)
    taught = Teacher(teacher, _taps(teacher)).to(device)
    pace = speed(word, device)
    settle(word, device)
    around: Around = nullcontext
    quick = taught
    if pace.quick:
        learner.channels_last()
        quick = taught.quick(torch.rand(2, 3, SIDE, SIDE, device=device), pace.precision)
    if pace.precision in HALVES:
        around = partial(torch.autocast, device.type, pace.precision)
    return Pair(learner, quick, taught, around)


def networks(own: Pair, batch: Batch) -> dict[str, Work]:
    """The step of the networks alone, in its two parts."""
    optimizer, task = _optimizer(own.student), CrossEntropy()
    assert batch.labels is not None
    labels = batch.labels

    def teacher() -> None:
        own.teacher(batch)

    def student() -> None:
        optimizer.zero_grad()
        with own.around():
            said = own.student(batch.images)
        task(said.output, labels).backward()
        optimizer.step()

    return {"teacher": teacher, "student": student}


def steps(own: Pair, batch: Batch) -> dict[str, Work]:
    """A step of every method's losses, by its name; of several stages, with the stage's number."""
    said = _captured(lambda images: _inside(own, images), batch)
    taught = _captured(own.teacher.encode, batch)
    leaves = Captured(_leaf(said.output), {name: _leaf(value) for name, value in said.taps.items()})
    found: dict[str, Work] = {}
    for name, method in METHODS.items():
        torch.manual_seed(0)
        setting, head = _setting(own, batch), None
        if method.adopt is not None:
            adopted = method.adopt(setting)
            assert isinstance(adopted, SimKDStudent)
            tapped = Tapped(adopted, adopted.taps)
            given = shapes(tapped, batch.images[:2].cpu())
            setting = replace(setting, student=given, student_network=tapped)
            head = nn.Sequential(adopted.pool, adopted.projector)
        numbered = {
            number: {key: term for key, term in stage.objective.terms.items() if key != TASK}
            for number, stage in enumerate(method(setting), start=1)
        }
        numbered = {number: terms for number, terms in numbered.items() if terms}
        for number, terms in numbered.items():
            called = f"{name}, stage {number}" if len(numbered) > 1 else name
            found[called] = Step(terms, leaves, taught, batch, own.around, head)
    return found


class Step:
    """Some terms on what two networks said: forward, backward and update of heads, when called.

    Args:
        terms: as an objective takes them.
        student: what the student said; its gradients are made, and forgotten again.
        teacher: what the teacher said.
        batch: the samples.
        around: what the networks run in.
        head: what is put behind the student's map, where a method does that.
    """

    def __init__(
        self,
        terms: dict[str, Term],
        student: Captured,
        teacher: Captured,
        batch: Batch,
        around: Around,
        head: nn.Module | None = None,
    ) -> None:
        self.objective = Objective(**terms)
        self.objective.at(LATE)
        self.head, self.around = head, around
        learned = nn.ModuleList([self.objective, *([head] if head is not None else [])])
        learned.to(batch.images.device)
        learns = any(each.requires_grad for each in learned.parameters())
        self.optimizer = _optimizer(learned) if learns else None
        self.student, self.teacher, self.batch = student, teacher, batch

    def __call__(self) -> Tensor:
        """The loss, after all of its work."""
        said = self.student
        if self.head is not None:
            with self.around():  # as a part of the student
                said = Captured(said.output, {"maps": self.head(said.taps["maps"])})
        if self.optimizer is not None:
            self.optimizer.zero_grad()
        losses = self.objective(said, self.teacher, self.batch, self.batch.images)
        losses.total.backward()
        if self.optimizer is not None:
            self.optimizer.step()
        for value in (self.student.output, *self.student.taps.values()):
            for leaf in value if isinstance(value, tuple) else (value,):
                leaf.grad = None
        return losses.total.detach()


def made_up(size: int, device: torch.device) -> Batch:
    """A batch of noise."""
    generator = torch.Generator().manual_seed(size)
    images = torch.rand(size, 3, SIDE, SIDE, generator=generator)
    labels = torch.randint(CLASSES, (size,), generator=generator)
    indices = torch.randperm(SAMPLES, generator=generator)[:size]
    return Batch(images.to(device), labels.to(device), indices.to(device))


def _created(name: str) -> nn.Module:
    return create(name, channels=3, size=SIDE, classes=CLASSES)


def _taps(network: nn.Module) -> Taps:
    taps: Taps = network.taps  # type: ignore[assignment]
    return taps


def _optimizer(module: nn.Module) -> torch.optim.Optimizer:
    learning = [each for each in module.parameters() if each.requires_grad]
    return torch.optim.SGD(learning, **OPTIMISER, fused=True)


def _setting(own: Pair, batch: Batch) -> Setting:
    some = batch.images[:2]
    return Setting(
        student=shapes(own.student, some),
        teacher=shapes(own.whole.tapped, some),
        student_says="logits",
        teacher_says="logits",
        samples=SAMPLES,
        classes=CLASSES,
        labels=torch.arange(SAMPLES) % CLASSES,
        batch=len(batch),
        student_network=own.student,
        teacher_network=own.whole.tapped,
    )


def _inside(own: Pair, images: Tensor) -> Captured:
    with torch.no_grad(), own.around():
        return own.student(images)


def _captured(network: Callable[[Tensor], Captured], batch: Batch) -> Captured:
    """What a network says of a batch, a part at a time."""
    parts = [network(images) for images in batch.images.split(FORWARD)]
    taps = {name: _joined([part.taps[name] for part in parts]) for name in parts[0].taps}
    return Captured(torch.cat([part.output for part in parts]), taps)


def _joined(parts: list[Value]) -> Value:
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return tuple(torch.cat(layer) for layer in zip(*parts, strict=True))


def _leaf(value: Value) -> Value:
    if isinstance(value, tuple):
        return tuple(each.detach().requires_grad_() for each in value)
    return value.detach().requires_grad_()
