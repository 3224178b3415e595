"""What loaders of others give and their logs are told, and what accumulating does to a loss."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from relatum import world
from relatum.objective import Objective
from relatum.types import Batch, Fault

IMAGES = ("images", "image", "pixel_values")
LABELS = ("labels", "label")
INDICES = ("indices", "index")


def batch_of(given: Any, objective: Objective) -> Batch:
    """A batch of relatum's, from what a loader gives.

    Args:
        given: a ``Batch``; images; ``(images, labels)`` or ``(images, labels, indices)``; or a
            mapping with ``images`` (or ``pixel_values``) and, where there are, ``labels`` and
            ``indices``. Images are float in [0, 1], or bytes, which are divided by 255.
        objective: what will read it.

    Raises:
        Fault: it is none of these, or a loss keeps a memory of its samples and the batch does
            not say which they are.
    """
    if isinstance(given, Batch):
        return given
    images, labels, indices = _parts(given)
    if not isinstance(images, Tensor) or images.ndim != 4:
        came = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise Fault(f"wanted images as (batch, channel, height, width), got {came}")
    if indices is None:
        if objective.needs("indices"):
            raise Fault(
                "a loss keeps a memory of every sample, and the batch does not say which samples it"
                " holds: let the set give (image, label, index), or a column 'indices'"
            )
        indices = torch.arange(len(images), device=images.device)
    if images.dtype == torch.uint8:
        images = images.float().div_(255)
    return Batch(images, labels, indices)


def _parts(given: Any) -> tuple[Any, Tensor | None, Tensor | None]:
    if isinstance(given, Mapping):
        return _first(given, IMAGES), _first(given, LABELS), _first(given, INDICES)
    if isinstance(given, Sequence) and 1 <= len(given) <= 3:
        return (*given, *[None] * (3 - len(given)))
    return given, None, None


def _first(given: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((given[name] for name in names if given.get(name) is not None), None)


def over_all(told: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What was told of this process's samples, as it is of those of all processes."""
    if world.size() == 1 or not told:
        return dict(told)
    values = torch.stack([value.detach().float() for value in told.values()])
    return dict(zip(told, world.mean(values).unbind(), strict=True))


def check_accumulation(objective: Objective, steps: int) -> None:
    """Refuse to add up gradients of several forward passes where that is another loss.

    A loss that compares samples sees those of one pass alone, and one with a memory would move it
    at every pass and not at every step. Of the others, a mean of means is the mean.

    Raises:
        Fault: there are several passes, and such a loss.
    """
    if steps == 1:
        return
    for name, loss in objective.losses.items():
        if getattr(loss, "relational", False) or next(loss.buffers(), None) is not None:
            raise Fault(
                f"term {name!r} compares the samples of a batch or remembers them, and of {steps}"
                " passes that add up it would see one at a time: take the batch at once, or train"
                " by relatum.fit with microbatch=…, which keeps the loss of the whole batch"
            )
