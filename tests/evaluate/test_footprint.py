"""Bytes by hand."""

import torch
from torch import Tensor, nn

from relatum.evaluate import footprint
from relatum.taps import Tap, Tapped
from relatum.types import Input


def test_the_largest_layer_counts() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2)
    )
    # the activation: 8 maps of 2 by 2 in, as many out
    assert footprint(Tapped(network, {}), (1, 2, 2)) == 2 * 8 * 4 * 4


def test_the_network_sees_what_it_resizes_to_in_its_own_type() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, 1)).bfloat16()
    tapped = Tapped(network, {}, Input(size=(6, 6)))
    assert footprint(tapped, (3, 2, 2)) == 2 * 3 * 6 * 6 * 2


class Pair(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        return images, [images, images]


def test_several_tensors_count_together_and_nothing_is_left_behind() -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair, self.drop = Pair(), nn.Dropout(0.5)

        def forward(self, images: Tensor) -> Tensor:
            kept: Tensor = self.drop(self.pair(images)[0])
            return kept

    network = Whole().train()
    tapped = Tapped(network, {"dropped": Tap("drop")})
    hooks = [len(each._forward_hooks) for each in network.modules()]
    assert footprint(tapped, (1, 5, 5)) == 4 * 25 * 4
    assert [len(each._forward_hooks) for each in network.modules()] == hooks
    assert network.drop.training
    assert torch.is_grad_enabled()
