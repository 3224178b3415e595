"""The inputs of the recorded tables: numbers that anybody can make again."""

import math

import torch
from torch import Tensor


def wave(shape: tuple[int, ...], phase: float) -> Tensor:
    """sin(0.7 k + 0.013 k² + phase) for k = 0, 1, … in row-major order, in float64."""
    count = torch.arange(math.prod(shape), dtype=torch.float64)
    return torch.sin(0.7 * count + 0.013 * count**2 + phase).view(shape)


def table() -> tuple[Tensor, Tensor]:
    """Six samples of a student of width 3 and of a teacher of width 5, in float32."""
    row, column = torch.arange(6.0)[:, None], torch.arange(5.0)
    student = torch.cos(0.9 * row - 1.1 * column[:3] + 0.4)
    return student, torch.sin(1.3 * row + 0.7 * column + 0.2)


def rotation(width: int, seed: int = 0) -> Tensor:
    """An orthogonal matrix in float64."""
    generator = torch.Generator().manual_seed(seed)
    square = torch.randn(width, width, dtype=torch.float64, generator=generator)
    orthogonal: Tensor = torch.linalg.qr(square).Q
    return orthogonal


def randn(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers in float64, the same for the same seed."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def waves(classes: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of four samples of both networks, and their labels: the recorded table's."""
    return 3 * wave((4, classes), 0), 3 * wave((4, classes), 0.5), torch.tensor([1, 3, 5, 9])


def softened(logits: Tensor, temperature: float = 1.0) -> list[list[float]]:
    """The soft-max of every row, by hand."""
    powers = [[math.exp(z / temperature) for z in row] for row in logits.tolist()]
    return [[power / sum(row) for power in row] for row in powers]
