"""Small networks and sets, for the tests of the core."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from relatum.data import Batches, Resident
from relatum.taps import Tap, Tapped, Taps
from relatum.teachers import Teacher
from relatum.types import Batch, Input, Value

CLASSES = 3
TAPS: Taps = {
    "embedding": Tap("fc", "input"),
    "maps": Tap("relu"),
    "stages": (Tap("conv"), Tap("relu")),
}


class Net(nn.Module):
    """Convolution, BatchNorm, ReLU, pooling, dropout, classifier."""

    def __init__(self, width: int = 4, classes: int = CLASSES, dropout: float = 0.5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.bn = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.flatten(self.pool(self.relu(self.bn(self.conv(images)))))
        logits: Tensor = self.fc(self.dropout(pooled))
        return logits


def student(seed: int = 0, width: int = 4, **named: Any) -> Tapped:
    torch.manual_seed(seed)
    return Tapped(Net(width, **named), TAPS, Input(mean=(0.5,), std=(0.5,)))


def teacher(seed: int = 1, width: int = 6, **named: Any) -> Teacher:
    torch.manual_seed(seed)
    network = Net(width, **named)
    with torch.no_grad():  # running statistics of its own
        network(torch.rand(16, 1, 6, 6))
    return Teacher(network, TAPS)


def resident(samples: int = 21, labels: bool = True) -> Resident:
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (samples, 1, 6, 6), generator=generator, dtype=torch.uint8)
    return Resident(images, torch.arange(samples) % CLASSES if labels else None)


def batches(samples: int = 21, size: int = 5, *, labels: bool = True, **named: Any) -> Batches:
    return Batches(resident(samples, labels), size, shuffle=True, **named)


def batch(samples: int = 8, labels: bool = True) -> Batch:
    return next(batches(samples, samples, labels=labels).epoch(1))


def tensors(value: Value) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


def state(module: nn.Module) -> dict[str, Tensor]:
    """A copy of its parameters and buffers, those that are not saved included."""
    kept = (*module.named_parameters(), *module.named_buffers())
    return {name: value.detach().clone() for name, value in kept}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


class Fixed:
    """A source that gives the batches that it was given, every epoch."""

    def __init__(self, *given: Batch) -> None:
        self._given = given

    def __len__(self) -> int:
        return len(self._given)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        yield from self._given[start:]
