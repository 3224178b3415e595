"""Layers as plain functions of a state dict, for forward passes by hand."""

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def liven(network: nn.Module) -> nn.Module:
    """Evaluation mode, and batch norms whose every number matters."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            for centred in (module.bias, module.running_mean):
                assert isinstance(centred, Tensor)
                nn.init.normal_(centred, std=0.1)
            assert module.running_var is not None
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


class Plain:
    """A state dict whose entries are used by their names; ``left`` are those not yet used."""

    def __init__(self, network: nn.Module) -> None:
        self.state: Mapping[str, Tensor] = network.state_dict()
        self.left = {name for name in self.state if not name.endswith("num_batches_tracked")}

    def _take(self, path: str, names: str) -> Iterator[Tensor | None]:
        for name in names.split():
            self.left.discard(f"{path}.{name}")
            yield self.state.get(f"{path}.{name}")

    def conv(self, path: str, maps: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        """A convolution that keeps the size, but for its stride."""
        weight, bias = self._take(path, "weight bias")
        assert weight is not None
        return F.conv2d(maps, weight, bias, stride, weight.shape[-1] // 2, groups=groups)

    def norm(self, path: str, maps: Tensor) -> Tensor:
        """A batch norm at rest."""
        mean, variance, weight, bias = self._take(path, "running_mean running_var weight bias")
        return F.batch_norm(maps, mean, variance, weight, bias)

    def linear(self, path: str, vectors: Tensor) -> Tensor:
        """A linear layer."""
        weight, bias = self._take(path, "weight bias")
        assert weight is not None
        return F.linear(vectors, weight, bias)


def shuffled(maps: Tensor, groups: int) -> Tensor:
    """Channel 0 of every group, then channel 1 of every group, and so on."""
    parts = maps.chunk(groups, 1)
    width = parts[0].shape[1]
    return torch.stack([part[:, place] for place in range(width) for part in parts], 1)
