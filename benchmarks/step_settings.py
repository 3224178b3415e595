"""What all ways of ``step.py`` share: a pair, a batch, images, a teacher's weights."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from relatum import Recipe, models
from relatum.data import Resident
from relatum.datasets import DATASETS, Dataset
from relatum.recipes.standard import protocol
from relatum.weights import save_weights

SIDE, CLASSES = 32, 100
"""Pixels and classes of CIFAR-100."""
LEAST = 1024
"""Random images that there are at least."""
RANDOM = "random-cifar100"
ENDLESS = 10**6
"""Epochs of a training that is stopped when enough was seen of it."""


@dataclass(frozen=True)
class Settings:
    """What all ways share.

    Attributes:
        pair: the teacher and the student.
        method: what is minimised beside cross-entropy.
        batch: samples a step.
        steps: that are measured at a time; an epoch of relatum's is as long.
        device: where.
        data: the folder that CIFAR-100 is in; random images without one.
        folder: where the teacher's weights and caches are.
    """

    pair: tuple[str, str]
    method: str
    batch: int
    steps: int
    device: torch.device
    data: Path | None
    folder: Path

    @property
    def weights(self) -> Path:
        """The teacher's."""
        return self.folder / "teacher.safetensors"

    def of(self, method: str) -> Self:
        """The same for another method."""
        return replace(self, method=method)

    def recipe(self, **changes: Any) -> Recipe:
        """The CIFAR-100 protocol, on as many samples as are measured at a time."""
        dataset = "cifar100" if self.data else RANDOM
        shared = protocol(dataset, self.pair[1]).but(
            data_root=str(self.data) if self.data else None,
            samples=self.batch * self.steps,
            batch_size=self.batch,
            teacher=f"{self.pair[0]}@{self.weights}",
            method=self.method,
            epochs=ENDLESS,
            schedule="constant",
            milestones=(),
        )
        return shared.but(**changes)


def random_set(samples: int) -> Dataset:
    """Images of CIFAR-100's shape that show nothing: they take the same time."""
    generator = torch.Generator().manual_seed(0)
    shape = (samples + CLASSES, 3, SIDE, SIDE)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    labels = torch.arange(samples + CLASSES) % CLASSES
    return Dataset(
        name=RANDOM,
        train=Resident(images[:samples], labels[:samples]),
        test=Resident(images[samples:], labels[samples:]),
        classes=tuple(map(str, range(CLASSES))),
        mean=(0.5071, 0.4867, 0.4408),
        std=(0.2675, 0.2565, 0.2761),
        note="random bytes",
    )


def begin(settings: Settings) -> None:
    """Make the random set known, where it is one, and give the teacher weights, once.

    They are random, and its BatchNorm has seen two batches of noise, so that what it says is of
    the size that a trained network's is. That costs the same as knowing something.
    """
    if settings.data is None:
        made = random_set(max(settings.batch * settings.steps, LEAST))
        DATASETS[RANDOM] = lambda root, download: made
    if settings.weights.exists():
        return
    torch.manual_seed(0)
    teacher = models.create(settings.pair[0], channels=3, size=SIDE, classes=CLASSES)
    for layer in teacher.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        for _ in range(2):
            teacher(torch.randn(64, 3, SIDE, SIDE))
    save_weights(teacher, settings.weights)
