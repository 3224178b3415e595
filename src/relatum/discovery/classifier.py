"""The layer that turns a network's embedding into its output."""

from torch import nn

from relatum.discovery.seen import DryRun, Seen
from relatum.taps import Tap, Taps

PASSES = (nn.Dropout, nn.Flatten, nn.Identity)
"""What a vector leaves as it came, with the network at rest."""


def last_layer(run: DryRun) -> Seen | None:
    """What makes a network's output of its embedding.

    It is the last linear layer that gives one row an image, or a convolution of one pixel with a
    bias behind which nothing learns (SqueezeNet, BiT); ``None`` where the output is an embedding
    itself.
    """
    if getattr(run.network, "num_classes", None) == 0:  # as timm has it
        return None
    linear = [
        each
        for each in run.seen
        if each.runs == 1 and isinstance(each.module, nn.Linear) and each.left.ndim == 2
    ]
    fits = linear and linear[-1].left.shape == run.output.shape
    return linear[-1] if fits else _pixelwise(run)


def before_dropout(run: DryRun, layer: Seen) -> Seen:
    """The first of the dropouts in front of a layer, or itself; those in place are not read."""
    for each in reversed(run.seen):
        drops = isinstance(each.module, nn.Dropout) and not each.module.inplace
        if drops and each.runs == 1 and each.left is layer.entered:
            layer = each
    return layer


def _pixelwise(run: DryRun) -> Seen | None:
    """A convolution that tells the classes of each pixel, whose mean is the output."""
    learns = [each for each in run.seen if list(each.module.parameters(recurse=False))]
    last = learns[-1] if learns else None
    if last is None or last.runs > 1 or not isinstance(last.module, nn.Conv2d):
        return None
    module, outputs = last.module, run.output.shape[1]
    if max(module.kernel_size) > 1 or module.bias is None or module.out_channels != outputs:
        return None
    return last


def find_classifier(network: nn.Module, taps: Taps, *, directly: bool = False) -> str | None:
    """The path of the linear layer that turns a network's embedding into its output.

    It is the only linear layer from the embedding's place on, in the order in which the network
    holds its modules; ``None`` where there is none, or are several, as in a decoder.

    Args:
        network: any network.
        taps: its own, as ``find_taps`` gives them.
        directly: only one that reads the embedding itself, with no activation between the two.

    Example:
        >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Dropout(), nn.Linear(3, 2))
        >>> find_classifier(network, {"embedding": Tap("2", "input")}, directly=True)
        '3'
        >>> find_classifier(network, {"embedding": Tap("0")})
        '3'
        >>> find_classifier(network, {"embedding": Tap("0")}, directly=True)  # a ReLU is between
    """
    tap = taps.get("embedding")
    if not isinstance(tap, Tap) or not tap.path:
        return None
    paths = [path for path, _ in network.named_modules()]
    behind = paths[paths.index(tap.path) :]
    if tap.at == "output":
        behind = [path for path in behind if not f"{path}.".startswith(f"{tap.path}.")]
    modules = {path: network.get_submodule(path) for path in behind}
    linear: list[str] = [path for path, module in modules.items() if isinstance(module, nn.Linear)]
    if len(linear) != 1:
        return None
    between = [modules[path] for path in behind[: behind.index(linear[0])]]
    leaves = [module for module in between if not list(module.children())]
    if directly and not all(isinstance(leaf, PASSES) for leaf in leaves):
        return None
    return linear[0]


def classifies(network: nn.Module, taps: Taps) -> bool:
    """Whether a layer makes a network's output of its embedding: linear, or a last convolution.

    Args:
        network: any network.
        taps: its own, as ``find_taps`` gives them.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> classifies(network, {"embedding": Tap("1", "input")})
        True
        >>> classifies(network, {"embedding": Tap("")})
        False
    """
    tap = taps.get("embedding")
    if isinstance(tap, Tap) and tap.at == "input" and tap.view.kind == "mean of map":
        return True
    return find_classifier(network, taps) is not None
