"""The network that is learnt from, and that cannot learn."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Self

import torch
from torch import nn

from relatum.precision import HALVES
from relatum.sharding import full_state, shard
from relatum.taps import Tapped, Taps
from relatum.types import Batch, Captured, Images, Input


class Teacher(nn.Module):
    """A tapped network that cannot learn.

    It is always in evaluation mode, whatever calls ``train`` on it or on what it is part of;
    it never builds a graph; and it stays out of the optimiser, of DDP and of checkpoints. Its
    parameters and buffers are the same after training, bit for bit. One in half precision
    computes and speaks in that, whatever autocast says; losses raise what it said.

    Args:
        network: the trained network. Its parameters are marked as not learning, nothing else
            about it is changed.
        taps: as ``Tapped`` takes them.
        input: the size and normalisation that *this* network was trained with.
    """

    def __init__(self, network: nn.Module, taps: Taps, input: Input | None = None) -> None:
        super().__init__()
        self.tapped = Tapped(network.requires_grad_(False), taps, input)
        self.train(False)

    def shard(
        self,
        device: torch.device | str,
        dtype: torch.dtype | None = None,
        paths: Sequence[str] | None = None,
    ) -> Self:
        """Hold it in parts, one on each process of the training (``relatum.sharding``).

        Its parameters and what it says have the same bits as before, if its type is the same.
        Alone, it comes to the device as a whole.

        Args:
            device: where this process computes. The network may still be elsewhere: no more
                than a part and one block of it is ever on the device.
            dtype: the type of number to hold it in, and to compute in; its own by default.
            paths: of the blocks that are gathered one at a time; found in it by default.
        """
        self.network.to(dtype=dtype)
        shard(self.tapped, device, paths)
        return self

    @property
    def network(self) -> nn.Module:
        """The bare network."""
        return self.tapped.network

    @property
    def taps(self) -> Taps:
        """The places that are read."""
        return self.tapped.taps

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, batch: Batch) -> Captured:
        """What it says about a batch."""
        return self.encode(batch.images)

    def encode(self, images: Images) -> Captured:
        """What it says about images in [0, 1]."""
        if any(module.training for module in self.modules()):
            self.train(False)
        # not inference_mode: its tensors cannot be saved for a projector's backward pass
        with torch.no_grad(), self._as_it_is(images.device.type):
            captured: Captured = self.tapped(images)
        return captured

    def _as_it_is(self, device: str) -> AbstractContextManager[object]:
        kind = next((each.dtype for each in self.network.parameters()), None)
        return torch.autocast(device, enabled=False) if kind in HALVES else nullcontext()

    def state(self) -> Mapping[str, torch.Tensor]:
        """A copy of its parameters and buffers on the CPU: to see that they did not change.

        Whole ones, of a teacher in parts too: all processes ask for it together.
        """
        return full_state(self.network)
