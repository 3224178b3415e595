"""Read the inside of any network without editing it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from relatum.types import Captured, Fault, Images, Input, Shapes, Value


class Tap(NamedTuple):
    """A place in a network: what enters or what leaves one of its submodules."""

    path: str
    at: Literal["input", "output"] = "output"


Taps = Mapping[str, Tap | tuple[Tap, ...]]
"""A name for each place to read; several layers under one name are read as a tuple."""


class Tapped(nn.Module):
    """A network that also returns what passed through its taps.

    Args:
        network: any module from images to logits, an embedding or a reconstruction. It is
            not changed, and its saved weights are its own (``tapped.network.state_dict()``).
        taps: a name for every place to read, e.g. ``{"embedding": Tap("fc", "input")}``;
            ``find_taps`` finds the usual ones in any network.
        input: the size and normalisation that this network was built for.

    Raises:
        Fault: a tap names a submodule that the network lacks; or, in ``forward``, a tapped
            submodule ran twice or never, gave no tensor, or was overwritten by a later layer.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> tapped = Tapped(network, {"embedding": Tap("3", "input")})
        >>> tapped(torch.zeros(5, 1, 2, 2)).read("embedding").shape
        torch.Size([5, 3])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, taps: Taps, input: Input | None = None) -> None:
        super().__init__()
        self.network = network
        self.taps = dict(taps)
        self.input = input or Input()
        for name in ("mean", "std"):
            value = torch.tensor(getattr(self.input, name)).view(1, -1, 1, 1)
            self.register_buffer(name, value, persistent=False)
        self._listening = False
        self._caught: dict[Tap, Tensor] = {}
        self._versions: dict[Tap, int] = {}
        self._hooks: dict[Tap, RemovableHandle] = {}
        if "output" in self.taps:
            raise Fault("no tap may be called 'output': that is what the network itself returns")
        modules = dict(network.named_modules())
        for name, tap in self._places():
            if tap.path not in modules:
                raise Fault(_no_module(name, tap, network, modules))
            if tap not in self._hooks:
                self._hooks[tap] = self._attach(tap, modules[tap.path])

    def _places(self) -> Iterator[tuple[str, Tap]]:
        for name, taps in self.taps.items():
            for tap in (taps,) if isinstance(taps, Tap) else taps:
                yield name, tap

    def _attach(self, tap: Tap, module: nn.Module) -> RemovableHandle:
        if tap.at == "input":
            return module.register_forward_pre_hook(lambda _, args: self._catch(tap, args[0]))
        return module.register_forward_hook(lambda _, __, out: self._catch(tap, out))

    def _catch(self, tap: Tap, value: Any) -> None:
        if not self._listening:  # the network was called by itself, or through other taps
            return
        if tap in self._caught:
            raise Fault(
                f"tap {tap.path!r}: this submodule runs more than once in a forward pass, so its"
                " value is ambiguous; tap the block around it instead"
            )
        if not isinstance(value, Tensor):
            raise Fault(
                f"tap {tap.path!r}: wanted a tensor, its {tap.at} is a {type(value).__name__};"
                " tap a submodule inside it instead"
            )
        self._caught[tap] = value
        if not torch.compiler.is_compiling():
            self._versions[tap] = value._version

    def only(self, names: set[str]) -> Self:
        """Keep these taps and let go of the others, which saves the memory of what they hold."""
        self.taps = {name: taps for name, taps in self.taps.items() if name in names}
        kept = {tap for _, tap in self._places()}
        for tap in [tap for tap in self._hooks if tap not in kept]:
            self._hooks.pop(tap).remove()
        return self

    def prepare(self, images: Images) -> Images:
        """Images in [0, 1] to what this network eats: its size, its mean, its deviation."""
        size = self.input.size
        if size is not None and tuple(images.shape[-2:]) != size:
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        return (images - self.mean) / self.std

    def forward(self, images: Images) -> Captured:
        """The network's output and every tap, for images in [0, 1]."""
        return self.read(self.prepare(images))

    def read(self, prepared: Images) -> Captured:
        """As ``forward``, for images that were prepared already."""
        self._caught = {}
        self._listening = True
        try:
            output = self.network(prepared)
            if not isinstance(output, Tensor):
                raise Fault(
                    f"{type(self.network).__name__} returns a {type(output).__name__}, wanted one"
                    " tensor; wrap it in a module that picks it"
                )
            taps = {name: self._value(name, tap) for name, tap in self.taps.items()}
        finally:
            self._listening = False
            self._caught = {}
        return Captured(output, taps)

    def _value(self, name: str, tap: Tap | tuple[Tap, ...]) -> Value:
        if not isinstance(tap, Tap):
            return tuple(self._one(name, each) for each in tap)
        return self._one(name, tap)

    def _one(self, name: str, tap: Tap) -> Tensor:
        if tap not in self._caught:
            raise Fault(f"tap {name!r}: submodule {tap.path!r} did not run in this forward pass")
        value = self._caught[tap]
        if not torch.compiler.is_compiling() and value._version != self._versions[tap]:
            raise Fault(
                f"tap {name!r}: a later layer overwrites {tap.path!r} in place; tap that layer's"
                " output, or build the network with inplace=False"
            )
        return value


def _no_module(name: str, tap: Tap, network: nn.Module, modules: Mapping[str, Any]) -> str:
    near = get_close_matches(tap.path, modules, n=3, cutoff=0.3) or [m for m in modules if m][-3:]
    return (
        f"tap {name!r}: {type(network).__name__} has no submodule {tap.path!r};"
        f" the nearest are {', '.join(near)}"
    )


@contextmanager
def at_rest(network: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradient for a while; every submodule's mode is put back."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def shapes(tapped: Tapped, images: Images) -> Shapes:
    """What the output and every tap give for these images; the network stays as it was."""
    with at_rest(tapped):
        captured = tapped(images)
    taken: dict[str, Value] = {"output": captured.output, **captured.taps}
    return {
        name: tuple(v.shape for v in value) if isinstance(value, tuple) else value.shape
        for name, value in taken.items()
    }


@dataclass(frozen=True)
class _Seen:
    """One submodule's part in a dry run: when it ended, what came in and out, how often it ran."""

    path: str
    module: nn.Module
    entered: Tensor | None
    left: Tensor
    runs: int = 1


def find_taps(network: nn.Module, images: Images) -> Taps:
    """The taps that a network declares (``network.taps``), or else those found by a dry run.

    ``embedding`` is what enters the last linear layer, before a dropout in front of it; a
    network that ends in no linear layer gives its output as the embedding. ``maps`` is the
    last feature map (four dimensions) before the final pooling; token networks have none.

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


def _dry_run(network: nn.Module, images: Images) -> tuple[list[_Seen], Tensor]:
    seen: dict[str, _Seen] = {}

    def note(path: str, module: nn.Module, args: tuple[Any, ...], left: Any) -> None:
        entered = args[0] if args and isinstance(args[0], Tensor) else None
        if isinstance(left, Tensor):
            before = seen.pop(path, None)
            now = _Seen(path, module, entered, left)
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
        if isinstance(each.module, nn.Dropout) and each.left is last.entered:
            last = each
    return Tap(last.path, "input")


def _maps(seen: list[_Seen]) -> Tap | None:
    pools = [
        place
        for place, each in enumerate(seen)
        if "pool" in type(each.module).__name__.lower() and each.left.shape[2:].numel() == 1
    ]
    before = seen[: pools[-1]] if pools else seen
    maps = [
        each
        for each in before
        if each.runs == 1
        and each.left.ndim == 4
        and "pool" not in type(each.module).__name__.lower()
    ]
    wide = [each for each in maps if each.left.shape[2:].numel() > 1]
    chosen = maps if pools and maps else wide
    return Tap(chosen[-1].path) if chosen else None
