"""The network that is learnt from, and that cannot learn."""

from collections.abc import Mapping
from typing import Self

import torch
from torch import nn

from relatum.taps import Tapped, Taps
from relatum.types import Batch, Captured, Images, Input


class Teacher(nn.Module):
    """A tapped network that cannot learn.

    It is always in evaluation mode, whatever calls ``train`` on it or on what it is part of;
    it never builds a graph; and it stays out of the optimiser, of DDP and of checkpoints. Its
    parameters and buffers are the same after training, bit for bit.

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
        with torch.no_grad():
            captured: Captured = self.tapped(images)
        return captured

    def state(self) -> Mapping[str, torch.Tensor]:
        """A copy of its parameters and buffers: to see that they did not change."""
        return {name: value.clone() for name, value in self.network.state_dict().items()}
