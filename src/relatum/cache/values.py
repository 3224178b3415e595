"""What a cache holds of one tap, ready to be read: on the device, or mapped from its files."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relatum.cache.shards import ROWS, Shard
from relatum.free_memory import free
from relatum.types import Value

SHARE = 1 / 4
"""Of a device's free memory: what takes more stays on disk."""
ON_CPU = 1 << 30
"""Bytes that are enough on a processor: pages that are read often stay in memory by themselves."""


@dataclass(frozen=True, eq=False)
class Held:
    """All of it on one device, views one after the other.

    Attributes:
        layers: views · samples × … each.
        spoken: the type in which the teacher said each.
        alone: whether the tap is one layer, and no tuple of them.
    """

    layers: tuple[Tensor, ...]
    spoken: tuple[torch.dtype, ...]
    alone: bool

    @property
    def device(self) -> torch.device:
        """Where places are wanted."""
        return self.layers[0].device

    def rows(self, places: Tensor, device: torch.device) -> Value:
        """Those at view · samples + sample, on a device."""
        found = tuple(
            each.index_select(0, places).to(device, kind)
            for each, kind in zip(self.layers, self.spoken, strict=True)
        )
        return found[0] if self.alone else found


@dataclass(frozen=True, eq=False)
class Mapped:
    """Files, of which each batch reads its rows.

    Attributes:
        shards: by view and by block of samples.
        samples: of a view.
        alone: as of ``Held``.
    """

    shards: Sequence[Sequence[Shard]]
    samples: int
    alone: bool

    @property
    def device(self) -> torch.device:
        """Where places are wanted."""
        return torch.device("cpu")

    @property
    def spoken(self) -> tuple[torch.dtype, ...]:
        """The type in which the teacher said each layer."""
        return self.shards[0][0].spoken

    @property
    def kinds(self) -> tuple[torch.dtype, ...]:
        """The type that holds all shards of a layer: theirs, where it is the same of all."""
        every = [[each.dtype for each in block.layers] for view in self.shards for block in view]
        return tuple(
            own[0] if len(set(own)) == 1 else spoken
            for own, spoken in zip(zip(*every, strict=True), self.spoken, strict=True)
        )

    @property
    def bytes(self) -> int:
        """Of all of it, in the memory of a device."""
        layers = zip(self.shards[0][0].layers, self.kinds, strict=True)
        each = sum(layer[0].numel() * kind.itemsize for layer, kind in layers)
        return each * self.samples * len(self.shards)

    def rows(self, places: Tensor, device: torch.device) -> Value:
        """Those at view · samples + sample, on a device, which nothing waits for."""
        views, samples = places // self.samples, places % self.samples
        blocks = len(self.shards[0])
        which, order = (views * blocks + samples // ROWS).sort(stable=True)
        local = (samples % ROWS)[order]
        here, lengths = which.unique_consecutive(return_counts=True)  # type: ignore[no-untyped-call]
        pinned = device.type == "cuda"  # else the copy to it would wait for all that it computes
        found = [
            torch.empty(len(places), *each.shape[1:], dtype=kind, pin_memory=pinned)
            for each, kind in zip(self.shards[0][0].layers, self.kinds, strict=True)
        ]
        start = 0
        for place, length in zip(here.tolist(), lengths.tolist(), strict=True):
            part = slice(start, start + length)
            shard = self.shards[place // blocks][place % blocks]
            for whole, own in zip(found, shard.layers, strict=True):
                whole[order[part]] = own[local[part]].to(whole.dtype)
            start += length
        moved = tuple(
            each.to(device, non_blocking=pinned).to(kind)
            for each, kind in zip(found, self.spoken, strict=True)
        )
        return moved[0] if self.alone else moved


def held(mapped: Mapped, device: torch.device) -> Held:
    """Read all of it and bring it to a device."""
    layers = []
    for layer, kind in enumerate(mapped.kinds):
        parts = [block.layers[layer] for view in mapped.shards for block in view]
        length = sum(map(len, parts))
        whole = torch.empty(length, *parts[0].shape[1:], dtype=kind, device=device)
        start = 0
        for each in parts:
            whole[start : start + len(each)].copy_(each)
            start += len(each)
        layers.append(whole)
    return Held(tuple(layers), mapped.spoken, mapped.alone)


def room_on(device: torch.device) -> int:
    """Bytes that a cache may take of a device: a quarter of what is free there."""
    most = int(SHARE * free(device))
    return most if device.type == "cuda" else min(most, ON_CPU)
