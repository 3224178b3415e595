"""What no step can be quicker than: its arithmetic and memory traffic, at this machine's rates.

Arithmetic: two operations for each multiply-add; the teacher's forward pass once, the student's
three times (forward, gradients of what entered, gradients of weights). Losses, normalisation,
activations and the update count nothing, and the gradient of the images, which nobody wants, half a
per cent too much. Traffic: the output of every convolution and linear layer is written once and
read once, as if all that lies between two of them were done on the way; the student's is read once
more by the backward pass, and its gradient written and read; weights are read once by each pass,
those of the student written once as gradients, and read and written with their momentum by the
update. The rates are the best that was measured in the same run, so what comes out is a lower bound
for this way to compute, and nothing that any program has reached.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatum.evaluate import macs, parameters
from relatum.taps import at_rest

ARITHMETIC = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PASSES = 3
"""Of the student: forward, and backward for what entered and for weights."""
WALKS = 5
"""Of the student's activations: written, read, read again, their gradients written, read."""
UPDATES = 8
"""Of its weights: read forward and backward; gradients written, read; weights and momentum each
read and written."""


@dataclass(frozen=True)
class Work:
    """What one step of a pair does, whatever the machine.

    Attributes:
        operations: of the teacher and of the student.
        activations: numbers that their layers put out.
        weights: numbers that they hold.
    """

    operations: tuple[int, int]
    activations: tuple[int, int]
    weights: tuple[int, int]

    def bytes(self, size: int, cached: bool) -> int:
        """Of memory traffic, at so many bytes a number; the student's weights have four."""
        teacher = 0 if cached else 2 * self.activations[0] + self.weights[0]
        student = WALKS * self.activations[1]
        return size * (teacher + student) + 4 * UPDATES * self.weights[1]

    def arithmetic(self, cached: bool) -> int:
        """Operations."""
        return self.operations[1] + (0 if cached else self.operations[0])


def work(
    teacher: nn.Module, student: nn.Module, image_shape: tuple[int, int, int], batch: int
) -> Work:
    """What a step of this pair does with a batch."""
    teaches, learns = (2 * batch * macs(each, image_shape) for each in (teacher, student))
    first, second = (batch * activations_of(each, image_shape) for each in (teacher, student))
    return Work(
        operations=(teaches, PASSES * learns),
        activations=(first, second),
        weights=(parameters(teacher), parameters(student)),
    )


def activations_of(network: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """How many numbers its convolutions and linear layers put out for one image."""
    sizes: list[int] = []
    layers = [each for each in network.modules() if isinstance(each, (nn.Conv2d, nn.Linear))]
    hooks = [
        each.register_forward_hook(lambda _module, _entering, left: sizes.append(left.numel()))
        for each in layers
    ]
    first = next(network.parameters())
    with at_rest(network):
        network(torch.zeros(1, *image_shape, dtype=first.dtype, device=first.device))
    for hook in hooks:
        hook.remove()
    return sum(sizes)


def rates(device: torch.device, repeats: int = 5) -> dict[str, Any]:
    """Operations a second in each type, by kind of product, and bytes a second, of this machine.

    Medians of some repeats after two that do not count; the best kind of product is the rate.

    Args:
        device: whose.
        repeats: of each.
    """
    side = 8192 if device.type == "cuda" else 1536
    images = 1024 if device.type == "cuda" else 64
    found: dict[str, Any] = {}
    for name, kind in ARITHMETIC.items():
        products = {
            f"matrix product of {side}": _product(side, kind, device),
            "convolution 3x3, 64 channels, 32x32": _convolution(images, 64, 32, kind, device),
            "convolution 3x3, 256 channels, 8x8": _convolution(images, 256, 8, kind, device),
        }
        each = {
            product: operations / median_of(run, device, repeats)
            for product, (operations, run) in products.items()
        }
        found[name] = {"operations_per_second": max(each.values()), "products": each}
    count = 2**30 if device.type == "cuda" else 2**28
    source = torch.ones(count // 4, device=device)
    target = torch.empty_like(source)
    seconds = median_of(lambda: target.copy_(source), device, repeats)
    found["bytes_per_second"] = 2 * count / seconds
    return found


def _product(side: int, kind: torch.dtype, device: torch.device) -> tuple[int, Callable[[], Any]]:
    one, two = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    return 2 * side**3, lambda: one @ two


def _convolution(
    images: int, channels: int, side: int, kind: torch.dtype, device: torch.device
) -> tuple[int, Callable[[], Any]]:
    """As PyTorch runs it quickest: channels last."""

    def last(tensor: Tensor) -> Tensor:
        return tensor.to(kind).contiguous(memory_format=torch.channels_last)

    entering = last(torch.randn(images, channels, side, side, device=device))
    weight = last(torch.randn(channels, channels, 3, 3, device=device))
    operations = 2 * images * side * side * channels * channels * 9
    return operations, lambda: F.conv2d(entering, weight, padding=1)


def median_of(run: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Seconds of a call: the median, after two that do not count."""
    taken: list[float] = []
    with torch.no_grad():
        for _ in range(repeats + 2):
            settle(device)
            began = time.perf_counter()
            run()
            settle(device)
            taken.append(time.perf_counter() - began)
    return statistics.median(taken[2:])


def settle(device: torch.device) -> None:
    """Wait for a GPU to have done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def floor(work: Work, rates: Mapping[str, Any], kind: str, cached: bool) -> dict[str, float]:
    """Seconds of a step, by its arithmetic, by its memory traffic, and the larger of the two."""
    arithmetic = work.arithmetic(cached) / rates[kind]["operations_per_second"]
    traffic = work.bytes(ARITHMETIC[kind].itemsize, cached) / rates["bytes_per_second"]
    return {"arithmetic": arithmetic, "memory": traffic, "seconds": max(arithmetic, traffic)}
