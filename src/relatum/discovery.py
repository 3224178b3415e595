"""Find the places worth reading in a network that does not name them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from relatum.taps import Tap, Taps, at_rest, check_output, version_of
from relatum.types import Images

PASSES = (nn.Dropout, nn.Flatten, nn.Identity)
"""What a vector leaves as it came, with the network at rest."""


@dataclass(frozen=True)
class _Seen:
    """One submodule's part in a dry run: what came in and out, how often it ran.

    ``seen`` lists them in the order in which they ended.
    """

    path: str
    module: nn.Module
    entered: Tensor | None
    left: Tensor
    version: int
    runs: int = 1

    @property
    def readable(self) -> bool:
        """Ran once, and no later layer wrote over what left it."""
        return self.runs == 1 and version_of(self.left) == self.version

    @property
    def pools(self) -> bool:
        return "pool" in type(self.module).__name__.lower()

    @property
    def pixels(self) -> int:
        return self.left.shape[2:].numel()


def find_taps(network: nn.Module, images: Images) -> Taps:
    """The taps that a network declares (``network.taps``), or else those found by a dry run.

    ``embedding`` is what enters the last linear layer, before a dropout in front of it (unless
    that works in place); a network that ends in no linear layer gives its output as the
    embedding. ``maps`` is the last feature map (batch, channel, height, width) before the
    final pooling; networks of tokens and those with channels last have none.

    Args:
        network: any network; its state and modes are as before when this returns.
        images: some images, prepared for it.
    """
    declared = getattr(network, "taps", None)
    if isinstance(declared, Mapping):
        return declared
    seen, output = _dry_run(network, images)
    taps: dict[str, Tap] = {}
    if embedding := _embedding(seen, output):
        taps["embedding"] = embedding
    if maps := _maps(seen):
        taps["maps"] = maps
    return taps


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


def _dry_run(network: nn.Module, images: Images) -> tuple[list[_Seen], Tensor]:
    seen: dict[str, _Seen] = {}

    def note(path: str, module: nn.Module, args: tuple[Any, ...], left: Any) -> None:
        entered = args[0] if args and isinstance(args[0], Tensor) else None
        if isinstance(left, Tensor):
            before = seen.pop(path, None)
            now = _Seen(path, module, entered, left, version_of(left))
            seen[path] = now if before is None else replace(now, runs=before.runs + 1)

    hooks = [
        module.register_forward_hook(
            lambda module, args, left, path=path: note(path, module, args, left)
        )
        for path, module in network.named_modules()
        if path
    ]
    try:
        with at_rest(network):
            output = network(images)
        check_output(output, network)
    finally:
        for hook in hooks:
            hook.remove()
    return list(seen.values()), output


def _embedding(seen: list[_Seen], output: Tensor) -> Tap | None:
    once = [each for each in seen if each.runs == 1]
    linear = [each for each in once if isinstance(each.module, nn.Linear)]
    if output.ndim != 2:
        return None
    if not linear or linear[-1].left.shape != output.shape:
        return Tap("")  # no classifier: what the network itself returns
    last = linear[-1]
    for each in reversed(once):
        drops = isinstance(each.module, nn.Dropout) and not each.module.inplace
        if drops and each.left is last.entered:
            last = each
    return Tap(last.path, "input")


def _maps(seen: list[_Seen]) -> Tap | None:
    spatial = [each for each in seen if each.left.ndim > 2]
    if not spatial or spatial[-1].left.ndim != 4:  # tokens end in (batch, token, channel)
        return None
    end = _final_pool(seen)
    pool = seen[end].path if end else ""
    maps = [
        each
        for each in seen[:end]
        if each.left.ndim == 4
        and each.readable
        and not each.pools
        and not (end and each.path.startswith(f"{pool}."))
        and (end or each.pixels > 1)
    ]
    widths = [each.module.in_features for each in seen if isinstance(each.module, nn.Linear)]
    if not maps or (widths and maps[-1].left.shape[3] == widths[-1] != maps[-1].left.shape[1]):
        return None
    return Tap(maps[-1].path)


def _final_pool(seen: list[_Seen]) -> int | None:
    """Where the last pooling to one pixel is, if all that follows it has one pixel too."""
    for place in reversed(range(len(seen))):
        each = seen[place]
        if each.left.ndim == 4 and each.pixels > 1:
            return None
        if each.pools and each.pixels == 1:
            return place
    return None
