"""The layer that turns a network's embedding into its output."""

from torch import nn

from relatum.taps import Tap, Taps

PASSES = (nn.Dropout, nn.Flatten, nn.Identity)
"""What a vector leaves as it came, with the network at rest."""


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
