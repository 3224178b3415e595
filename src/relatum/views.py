"""What the tensor at a place in a network is turned into, so that losses read one kind of thing.

Losses on maps want (batch, channel, height, width). Transformers hold tokens (batch, token,
channel), some with a class token or registers in front, and others hold maps whose channels come
last: a view lays them out, and changes no number.
"""

from dataclasses import dataclass
from math import isqrt
from typing import Any, Literal

from torch import Tensor

from relatum.types import Fault

Kind = Literal[
    "as it is", "map", "map of channels last", "tokens", "class token", "mean token", "mean of map"
]


@dataclass(frozen=True, slots=True)
class View:
    """How to read a tensor.

    Attributes:
        kind: ``"map"`` makes a map of patch tokens; ``"map of channels last"`` puts the channels
            first; ``"tokens"`` are the patch tokens alone, ``"class token"`` is the first token,
            ``"mean token"`` the mean of the patch tokens, ``"mean of map"`` that of a map's pixels.
        prefix: how many tokens stand before those of the patches: class token and registers.
        grid: rows and columns of patches; ``None`` for as many of both.
        item: which entry of a tuple is read, where a module returns one.

    Example:
        >>> import torch
        >>> tokens = torch.zeros(2, 1 + 4 * 4, 8)
        >>> View("map", prefix=1)(tokens).shape
        torch.Size([2, 8, 4, 4])
    """

    kind: Kind = "as it is"
    prefix: int = 0
    grid: tuple[int, int] | None = None
    item: int | None = None

    @property
    def lays_out(self) -> bool:
        """Whether it leaves all patches as they are, and only lays them out."""
        return self.kind in ("map", "map of channels last", "tokens")

    def pick(self, value: Any) -> Any:
        """The entry of a tuple that is meant; anything else as it came."""
        if self.item is not None and isinstance(value, tuple | list) and len(value) > self.item:
            return value[self.item]
        return value

    def __call__(self, value: Tensor) -> Tensor:
        """Lay a tensor out.

        Raises:
            Fault: it has other axes, or its tokens fill no grid.
        """
        if self.kind == "as it is":
            return value
        if self.kind == "map of channels last":
            _check(value, 4, "a map (batch, height, width, channel)")
            return value.permute(0, 3, 1, 2)
        if self.kind == "mean of map":
            _check(value, 4, "a map (batch, channel, height, width)")
            return value.mean((2, 3))
        _check(value, 3, "tokens (batch, token, channel)")
        if self.kind == "class token":
            return value[:, 0]
        patches = value[:, self.prefix :]
        if self.kind == "tokens":
            return patches
        if self.kind == "mean token":
            return patches.mean(1)
        rows, columns = self.grid or (isqrt(patches.shape[1]),) * 2
        if rows * columns != patches.shape[1]:
            raise Fault(
                f"{patches.shape[1]} tokens behind a prefix of {self.prefix} make no grid of"
                f" {rows} by {columns}; name the grid: View('map', prefix=…, grid=(rows, columns))"
            )
        # by shape: len() makes a plain number of it, and an exported file takes that number alone
        return patches.transpose(1, 2).reshape(patches.shape[0], -1, rows, columns)


def _check(value: Tensor, axes: int, wanted: str) -> None:
    if value.ndim != axes:
        raise Fault(f"this view wants {wanted}, got a tensor of {tuple(value.shape)}")
