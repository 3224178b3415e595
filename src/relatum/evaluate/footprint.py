"""How much memory a network takes to look at an image."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from relatum.taps import Tapped, at_rest


def footprint(tapped: Tapped, image_shape: tuple[int, int, int]) -> int:
    """Bytes that enter and leave the largest layer of a network at rest, for one image.

    What lives at a time is about that, for nothing is kept for a backward pass. Functions between
    modules are not seen; they rarely make anything larger. One image of zeros is shown to the
    network, whose modes are as before when this returns.

    Args:
        tapped: the network, on any device.
        image_shape: channels, height and width, before the network's own resizing.

    Example:
        >>> network = Tapped(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), {})
        >>> footprint(network, (3, 2, 2))  # flattening: 12 numbers in, 12 out, of 4 bytes each
        96
    """
    largest = 0

    def look(_: nn.Module, taken: tuple[Any, ...], left: Any) -> None:
        nonlocal largest
        largest = max(largest, _size(taken) + _size((left,)))

    hooks = [each.register_forward_hook(look) for each in tapped.network.modules()]
    try:
        with at_rest(tapped):
            tapped(torch.zeros(1, *image_shape, device=tapped.mean.device))
    finally:
        for hook in hooks:
            hook.remove()
    return largest


def _size(values: Iterable[Any]) -> int:
    """Bytes of all tensors, those in lists and tuples too."""
    total = 0
    for each in values:
        if isinstance(each, Tensor):
            total += each.numel() * each.element_size()
        elif isinstance(each, list | tuple):
            total += _size(each)
    return total
