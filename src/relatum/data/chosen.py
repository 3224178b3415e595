"""Which images stand for a set, where not all of it is looked at: the same ones every time."""

import torch
from torch import Tensor

from relatum.data.seeds import generator


def evenly(count: int, most: int) -> Tensor:
    """The places of at most so many samples of a set, evenly spread over it.

    Sets often lie sorted by class, so the first ones would not stand for the others.

    Example:
        >>> evenly(10, 4).tolist()
        [0, 2, 5, 7]
    """
    few = min(count, most)
    return torch.arange(few) * count // max(few, 1)


def drawn(count: int, most: int, purpose: str) -> Tensor:
    """The places of at most so many samples, drawn at random, in the order of the set.

    Where classes take turns, samples that are evenly spread may all be of one.

    Args:
        count: of the set.
        most: how many are wanted.
        purpose: what they are for; another word draws others.
    """
    order = torch.randperm(count, generator=generator(0, purpose))
    return order[:most].sort().values


def of_each_class(labels: Tensor | None, count: int, most: int, classes: int) -> Tensor:
    """The places of the first of every class, as many of each, sorted by class: to be looked at.

    Args:
        labels: of the set, or ``None`` for its first samples.
        count: of the set.
        most: how many are wanted in all; one of each class at least.
        classes: of how many classes, from the first.
    """
    if labels is None:
        return torch.arange(min(most, count))
    labels = labels.cpu()
    present = labels.unique()[:classes]  # type: ignore[no-untyped-call]
    each = max(most // max(len(present), 1), 1)
    return torch.cat([(labels == label).nonzero().flatten()[:each] for label in present])
