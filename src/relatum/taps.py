"""Read the inside of any network without editing it."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from relatum.types import Captured, Fault, Images, Input, Shapes, Value
from relatum.views import View


class Tap(NamedTuple):
    """A place in a network: what enters or what leaves one of its submodules.

    A view lays out what is there: tokens, or channels that come last, as a map.
    """

    path: str
    at: Literal["input", "output"] = "output"
    view: View = View()

    @property
    def place(self) -> tuple[str, str]:
        """Where it is, however it is laid out."""
        return self.path, self.at


Taps = Mapping[str, Tap | tuple[Tap, ...]]
"""A name for each place to read; several layers under one name are read as a tuple."""


class _Enough(BaseException):
    """Ends a forward pass whose later layers nobody reads; no ``except Exception`` catches it."""


class Tapped(nn.Module):
    """A network that also returns what passed through its taps.

    Args:
        network: any module from images to logits, an embedding or a reconstruction. It is
            not changed, and its saved weights are its own (``tapped.network.state_dict()``).
            Images come to it in the type of its parameters, be that float32 or bfloat16.
        taps: a name for every place to read, e.g. ``{"embedding": Tap("fc", "input")}``;
            ``find_taps`` finds the usual ones in any network.
        input: the size and normalisation that this network was built for.

    Attributes:
        whole: run the network to its end always, whatever ``until`` says: one that is sharded
            must not be left halfway.
        unlaid: where to note what a view only laid out, by the identity of what came of it, which
            is noted too and so lives. Later layers know of the one, and never of the other.

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
        self.whole = False
        self.unlaid: dict[int, tuple[Tensor, Tensor]] | None = None
        self._listening = False
        self._caught: dict[Tap, Tensor] = {}
        self._versions: dict[Tap, int] = {}
        self._until: frozenset[str] | None = None
        self._last: frozenset[Tap] | None = None
        self._proven: dict[frozenset[str], frozenset[Tap]] = {}
        self._format = torch.contiguous_format
        self._hooks: dict[Tap, RemovableHandle] = {}
        if "output" in self.taps:
            raise Fault("no tap may be called 'output': that is what the network itself returns")
        modules = dict(network.named_modules())
        for name, tap in _places(self.taps):
            if tap.path not in modules:
                raise Fault(_no_module(name, tap, network, modules))
            if tap.at not in ("input", "output"):
                raise Fault(f"tap {name!r}: at is 'input' or 'output', got {tap.at!r}")
            if tap not in self._hooks:
                self._hooks[tap] = self._attach(tap, modules[tap.path])

    def _attach(self, tap: Tap, module: nn.Module) -> RemovableHandle:
        # Bound methods, not lambdas: a deep copy's hooks then belong to the copy, and it pickles.
        if tap.at == "input":
            return module.register_forward_pre_hook(
                partial(self._catch_input, tap), with_kwargs=True
            )
        return module.register_forward_hook(partial(self._catch_output, tap))

    def _catch_input(self, tap: Tap, _: nn.Module, args: Any, kwargs: Any) -> None:
        self._catch(tap, next(iter((*args, *kwargs.values())), None))

    def _catch_output(self, tap: Tap, _: nn.Module, args: Any, left: Any) -> None:
        self._catch(tap, left)

    def _catch(self, tap: Tap, value: Any) -> None:
        if not self._listening:  # the network was called by itself, or through other taps
            return
        value = tap.view.pick(value)
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
        if not torch.compiler.is_compiling():  # which would watch what is kept, and compile again
            self._versions[tap] = version_of(value)
        if self._last is not None and self._last <= self._caught.keys():
            raise _Enough

    def channels_last(self) -> Self:
        """Lay the network's weights and its images so that a pixel's channels lie together.

        What convolutions in bfloat16 like best. The numbers are the same but for the order in
        which they are added up.
        """
        self.network.to(memory_format=torch.channels_last)
        self._format = torch.channels_last
        return self

    def only(self, names: set[str]) -> Self:
        """Keep these taps and let go of the others, which saves the memory of what they hold."""
        self.taps = {name: taps for name, taps in self.taps.items() if name in names}
        kept = {tap for _, tap in _places(self.taps)}
        for tap in [tap for tap in self._hooks if tap not in kept]:
            self._hooks.pop(tap).remove()
        return self

    @contextmanager
    def until(self, names: Iterable[str]) -> Iterator[None]:
        """Run the network no further than to the last of these taps, for a while.

        What is captured then holds these taps alone, and an empty output. Layers behind them
        draw no dropout and gather no statistics. A few of the first images run through the
        whole network, at rest, so that a tap which cannot be read is refused as ever.
        """
        before, self._until = self._until, None if self.whole else frozenset(names)
        try:
            yield
        finally:
            self._until = before

    def prepare(self, images: Images) -> Images:
        """Images in [0, 1] to what this network eats: its size, mean, deviation and type."""
        size = self.input.size
        if size is not None and tuple(images.shape[-2:]) != size:
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        prepared = (images - self.mean).div_(self.std)
        kind = next((each.dtype for each in self.network.parameters()), prepared.dtype)
        kind = kind if kind.is_floating_point else prepared.dtype
        return prepared.to(kind, memory_format=self._format)

    def forward(self, images: Images) -> Captured:
        """The network's output and every tap, for images in [0, 1]."""
        return self.read(self.prepare(images))

    def read(self, prepared: Images) -> Captured:
        """As ``forward``, for images that were prepared already."""
        until = self._until
        if until is None:
            return self._read(prepared, self.taps)
        taps = {name: self.taps[name] for name in until}
        if torch.compiler.is_compiling():  # what only the output needs, the compiler leaves out
            return Captured(prepared.new_empty(0), self._read(prepared, taps).taps)
        if until not in self._proven:
            with at_rest(self.network):
                self._read(prepared[:2], self.taps)
            self._proven[until] = frozenset(tap for _, tap in _places(taps))
        self._last = self._proven[until]
        try:
            return self._read(prepared, taps)
        finally:
            self._last = None

    def _read(self, prepared: Images, wanted: Taps) -> Captured:
        self._caught = {}
        self._listening = True
        output = prepared.new_empty(0)
        try:
            with suppress(_Enough):
                output = self.network(prepared)
                check_output(output, self.network)
            taps = {name: self._value(name, tap) for name, tap in wanted.items()}
        finally:
            self._listening = False
            self._caught, self._versions = {}, {}
        return Captured(output, taps)

    def _value(self, name: str, tap: Tap | tuple[Tap, ...]) -> Value:
        if not isinstance(tap, Tap):
            return tuple(self._one(name, each) for each in tap)
        return self._one(name, tap)

    def _one(self, name: str, tap: Tap) -> Tensor:
        if tap not in self._caught:
            raise Fault(f"tap {name!r}: submodule {tap.path!r} did not run in this forward pass")
        value = self._caught[tap]
        if version_of(value) != self._versions.get(tap, 0):
            raise Fault(
                f"tap {name!r}: a later layer overwrites {tap.path!r} in place; tap that layer's"
                " output, or build the network with inplace=False"
            )
        laid = tap.view(value)
        if self.unlaid is not None and tap.view.lays_out:
            self.unlaid[id(laid)] = laid, value
        return laid


def _places(taps: Taps) -> Iterator[tuple[str, Tap]]:
    for name, each in taps.items():
        for tap in (each,) if isinstance(each, Tap) else each:
            yield name, tap


def version_of(value: Tensor) -> int:
    """How often a tensor was overwritten; inference tensors and traced ones do not count."""
    return 0 if torch.compiler.is_compiling() or value.is_inference() else value._version


def check_output(output: Any, network: nn.Module) -> None:
    """Refuse a network that returns anything but one tensor."""
    if not isinstance(output, Tensor):
        raise Fault(
            f"{type(network).__name__} returns a {type(output).__name__}, wanted one tensor;"
            " wrap it in a module that picks it"
        )


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
