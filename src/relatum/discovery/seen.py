"""A dry run of a network: what came in and out of each submodule, and how it is laid out."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any

from torch import Tensor, nn

from relatum.taps import at_rest, check_output, version_of
from relatum.types import Images
from relatum.views import View

Grid = tuple[int, int]
"""Rows and columns of a map, or of patches."""
PREFIX = 16
"""Tokens before the patches, at most: a class token, one of distillation, registers."""


@dataclass(frozen=True, eq=False)  # two that hold the same numbers are still two
class Seen:
    """One submodule's part in a dry run: what came in and out, how often it ran.

    Attributes:
        path: the submodule's.
        module: itself.
        entered: the first tensor that came in.
        left: what came out, of a tuple its first entry.
        version: how often that was overwritten by then.
        item: 0 where a tuple came out.
        runs: how often it ran.
    """

    path: str
    module: nn.Module
    entered: Tensor | None
    left: Tensor
    version: int
    item: int | None = None
    runs: int = 1

    @property
    def readable(self) -> bool:
        """Ran once, and no later layer wrote over what left it."""
        return self.runs == 1 and version_of(self.left) == self.version

    @property
    def pools(self) -> bool:
        """Whether it is a pooling layer; a stage that is called by one has parameters."""
        named = "pool" in type(self.module).__name__.lower()
        return named and sum(each.numel() for each in self.module.parameters()) <= 1

    @property
    def pixels(self) -> int:
        """Of a map whose channels come first."""
        return self.left.shape[2:].numel()


@dataclass(frozen=True)
class Layout:
    """How the places of an image lie in a tensor.

    Attributes:
        grid: rows and columns.
        channels: of each place.
        view: makes a map of it.
    """

    grid: Grid
    channels: int
    view: View

    @property
    def tokens(self) -> bool:
        """Whether it is a sequence of tokens, and no map."""
        return self.view.kind == "map"


class DryRun:
    """What a network did with some images, at rest; in the order in which submodules ended.

    Args:
        network: any; its state and modes are as before.
        images: prepared for it.
    """

    def __init__(self, network: nn.Module, images: Images) -> None:
        self.network, self.images = network, images
        self.every, self.output = _run(network, images)
        self.seen = [each for each in self.every if each.item is None]
        self._grids = self._seen_grids()

    def layout(self, value: Tensor | None, item: int | None = None) -> Layout | None:
        """How places lie in a tensor that passed; ``None`` where they lie in no order."""
        if value is None or value.shape[:1] != self.images.shape[:1]:
            return None
        if value.ndim == 4:
            return self._map(value, item)
        return self._tokens(value, item) if value.ndim == 3 else None

    def left(self, each: Seen) -> Layout | None:
        """How places lie in what left a submodule."""
        return self.layout(each.left, each.item)

    def within(self, path: str) -> list[Seen]:
        """The submodules nearest below one that ran, whatever holds them between."""
        below = [each for each in self.every if path == "" or each.path.startswith(f"{path}.")]
        paths = {each.path for each in below}
        return [each for each in below if not any(up in paths for up in _above(each.path, path))]

    def _map(self, value: Tensor, item: int | None) -> Layout | None:
        _, first, second, third = value.shape
        height, width = self.images.shape[2:]
        found = [
            (abs(rows * width - columns * height), Layout((rows, columns), channels, view))
            for rows, columns, channels, view in (
                (second, third, first, View(item=item)),
                (first, second, third, View("map of channels last", item=item)),
            )
            # rounding makes a side of one pixel more or less
            if abs(rows * width - columns * height) <= max(height, width) and rows <= height
        ]
        return min(found, key=lambda each: each[0])[1] if found else None

    def _tokens(self, value: Tensor, item: int | None) -> Layout | None:
        number, channels = value.shape[1:]
        height, width = self.images.shape[2:]
        rows = isqrt(number * height // width)
        usual = {(rows, rows * width // height)} if rows * width % height == 0 else set()
        for grids in (self._grids, usual):
            fitting = [
                (number - each[0] * each[1], each)
                for each in grids
                if each[0] * each[1] > 1
                and 0 <= number - each[0] * each[1] <= min(PREFIX, each[0] * each[1])
            ]
            if fitting:
                prefix, grid = min(fitting)
                square = None if grid[0] == grid[1] else grid
                return Layout(grid, channels, View("map", prefix, square, item))
        return None

    def _seen_grids(self) -> set[Grid]:
        found = (self._map(each.left, None) for each in self.seen if each.left.ndim == 4)
        return {each.grid for each in found if each is not None}


def _run(network: nn.Module, images: Images) -> tuple[list[Seen], Tensor]:
    seen: dict[str, Seen] = {}

    def note(path: str, module: nn.Module, values: tuple[Any, ...], left: Any) -> None:
        entered = next((each for each in values if isinstance(each, Tensor)), None)
        item = 0 if isinstance(left, tuple | list) and left else None
        left = left if item is None else left[item]
        if isinstance(left, Tensor):
            before = seen.pop(path, None)
            now = Seen(path, module, entered, left, version_of(left), item)
            seen[path] = now if before is None else replace(now, runs=before.runs + 1)

    hooks = [
        module.register_forward_hook(
            lambda module, args, kwargs, left, path=path: note(
                path, module, (*args, *kwargs.values()), left
            ),
            with_kwargs=True,
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


def _above(path: str, top: str) -> Iterator[str]:
    """The paths between one and the top, both left out."""
    while "." in path:
        path = path.rpartition(".")[0]
        if path == top:
            return
        yield path
