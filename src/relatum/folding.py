"""BatchNorm of a network that does not learn, folded into the convolutions before it."""

from collections import Counter
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from relatum.taps import Tap, Tapped, at_rest
from relatum.types import Captured, Images

Pair = tuple[str, str]
"""The paths of a layer and of the BatchNorm behind it."""
TOLERANCE = 1e-3
"""How far a value may be off, as a share of the largest: float32 itself is off by 1e-6."""
LINEAR = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def fold(tapped: Tapped, images: Images) -> tuple[Tapped, int]:
    r"""A copy of a network in evaluation mode without the BatchNorm that a layer can take over.

    .. math:: \gamma \frac{W x + b - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta
        = W' x + b', \qquad W' = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} W

    A BatchNorm goes into a convolution or a linear layer where it reads just what that layer put
    out, where no tap reads what lies between, and where the network then says the same as before:
    that is tried, on these images, and a fold that changes more than the rounding of sums is
    taken back. Networks that normalise before they convolve keep the first norm of each block.

    Args:
        tapped: stays as it is.
        images: a few, in [0, 1], on its device.

    Returns:
        The copy, with the same taps, and how many norms are gone.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        >>> copy, folded = fold(Tapped(network, {"maps": Tap("2")}), torch.rand(2, 1, 8, 8))
        >>> folded, copy.network[1]
        (1, Identity())
    """
    with at_rest(tapped), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        wanted = tapped(images)
        pairs = _pairs(tapped, images)
        copy = _without(tapped, pairs)
        if not _same(copy(images), wanted):  # something else reads between a layer and its norm
            pairs = [each for each in pairs if _same(_without(tapped, [each])(images), wanted)]
            copy = _without(tapped, pairs)
            if not _same(copy(images), wanted):
                pairs, copy = [], _without(tapped, [])
    return copy, len(pairs)


def _pairs(tapped: Tapped, images: Images) -> list[Pair]:
    """Each layer with the norm that reads what it puts out, as a forward pass shows it."""
    network, put_out, found = tapped.network, dict[int, tuple[str, Tensor]](), list[Pair]()
    runs: Counter[str] = Counter()
    handles = []

    def left(path: str, value: Tensor) -> None:
        runs[path] += 1
        put_out[id(value)] = (path, value)  # held, so that no other tensor gets its id

    def enters(path: str, value: Tensor) -> None:
        runs[path] += 1
        if id(value) in put_out:
            found.append((put_out[id(value)][0], path))

    for path, module in network.named_modules():
        if type(module) in LINEAR:
            handles.append(
                module.register_forward_hook(lambda _, __, value, path=path: left(path, value))
            )
        elif isinstance(module, _BatchNorm) and module.track_running_stats:
            handles.append(
                module.register_forward_pre_hook(lambda _, args, path=path: enters(path, args[0]))
            )
    try:
        tapped(images)
    finally:
        for handle in handles:
            handle.remove()
    between = {tap.place for each in tapped.taps.values() for tap in _each(each)}
    layers = Counter(layer for layer, _ in found)
    return [
        (layer, norm)
        for layer, norm in found
        if runs[layer] == runs[norm] == layers[layer] == 1
        and not between & {(layer, "output"), (norm, "input")}
    ]


def _each(taps: Tap | tuple[Tap, ...]) -> tuple[Tap, ...]:
    return (taps,) if isinstance(taps, Tap) else taps


def _without(tapped: Tapped, pairs: list[Pair]) -> Tapped:
    """A copy with these norms folded."""
    network = deepcopy(tapped).only(set()).network.eval()  # its hooks are the copy's own
    for layer, norm in pairs:
        before, after = network.get_submodule(layer), network.get_submodule(norm)
        assert isinstance(after, _BatchNorm)
        if isinstance(before, nn.Linear):
            network.set_submodule(layer, fuse_linear_bn_eval(before, after))
        else:
            assert isinstance(before, _ConvNd)
            network.set_submodule(layer, fuse_conv_bn_eval(before, after))
        network.set_submodule(norm, nn.Identity())
    return Tapped(network, tapped.taps, tapped.input).to(tapped.mean.device).eval()


def _same(one: Captured, other: Captured) -> bool:
    """Whether two say the same, but for the rounding of sums."""
    pairs = zip(_values(one), _values(other), strict=True)
    return all(
        float((mine - its).abs().max()) <= TOLERANCE * max(float(its.abs().max()), 1e-12)
        for mine, its in pairs
    )


def _values(captured: Captured) -> list[Tensor]:
    values = [captured.output, *captured.taps.values()]
    return [each for value in values for each in (value if isinstance(value, tuple) else (value,))]
