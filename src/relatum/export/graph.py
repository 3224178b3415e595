"""The computation that is written into a file: from images as they come to what is asked for."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatum.export.source import Source
from relatum.taps import Tapped
from relatum.types import Fault, Images, first_line

Entering = Literal["normalised", "float", "uint8"]
"""What enters a file: images that were normalised outside; images in [0, 1]; or bytes. The last
two are normalised inside."""
Output = Literal["auto", "logits", "embedding", "both"]
"""What leaves it: the network's own output or, where that was never taught, its embedding."""
Runs = Callable[[Tensor], tuple[Tensor, ...]]
"""A written file, opened again: what it gives for images, without a gradient."""
IMAGES = "images"
"""What the input of a graph is called."""


class Deployed(nn.Module):
    """A network from images as they come to a tensor, or two.

    Args:
        tapped: the network.
        entering: what its images are.
        leaving: names of taps; ``"output"`` for the network's own.
        size: height and width that every image is resized to first; ``None`` for not at all.
    """

    def __init__(
        self,
        tapped: Tapped,
        entering: Entering,
        leaving: tuple[str, ...],
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.tapped = tapped
        self.entering = entering
        self.leaving = leaving
        self.size = size

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Images to what leaves."""
        if self.entering == "uint8":
            images = images.float() / 255
        if self.size is not None:
            images = resized(images, self.size)
        prepared = self.entering == "normalised"
        captured = self.tapped.read(images) if prepared else self.tapped(images)
        values: list[Tensor] = []
        for name in self.leaving:
            value = captured.read(name)
            assert isinstance(value, Tensor)  # an embedding, or the output
            values.append(value)
        return values[0] if len(values) == 1 else tuple(values)


@dataclass(frozen=True, eq=False)
class Graph:
    """What is asked of a file that holds a computation.

    Attributes:
        source: the network.
        entering: what its images are.
        output: what it shall give.
        resized: whether it takes images of any height and width, and resizes them.
        batch: how many images at a time; ``None`` for any number.
        bare: whether the weights are written and no computation, so that what leaves is the
            network's own output, taught or not.
    """

    source: Source
    entering: Entering = "normalised"
    output: Output = "auto"
    resized: bool = False
    batch: int | None = None
    bare: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("input", self.entering, get_args(Entering)),
            ("output", self.output, get_args(Output)),
        ):
            if value not in known:
                raise Fault(f"--{name} is {', '.join(known)}, got {value!r}")
        if self.resized and self.entering == "normalised":
            raise Fault(
                "--resize takes images as they come, so they are normalised inside as well: add"
                " --input float or --input uint8"
            )
        if self.batch is not None and self.batch < 1:
            raise Fault(f"a batch holds at least one image, got --batch {self.batch}")
        if self.output != "auto":
            self.leaving  # noqa: B018 - refuses what the network cannot give

    @cached_property
    def leaving(self) -> Mapping[str, str]:
        """The names of what leaves, and of the taps that give it."""
        source, says = self.source, self.source.says
        if self.output in ("embedding", "both") and "embedding" not in source.tapped.taps:
            raise Fault(f"{source.name} has no embedding that could be found; use --output logits")
        own: dict[str, str] = {says: "output"}
        inside = {"embedding": "embedding"}
        if self.bare:
            return own
        untaught = bool(source.untaught)
        if self.output in ("embedding", "both") or untaught or says == "embedding":
            self._check_embedding()
        if self.output == "auto":
            return inside if untaught else own
        if self.output == "embedding":
            return own if says == "embedding" else inside
        if says == "embedding":
            raise Fault(f"{source.name} puts out an embedding alone: use --output embedding")
        if untaught:
            raise Fault(
                f"nothing taught {source.name} to give {says} ({source.untaught[0]} never learnt),"
                " only what enters them: use --output embedding"
            )
        if self.output == "logits" and says != "logits":
            raise Fault(
                f"{source.name} puts out a {says} and no logits: leave --output out for that"
            )
        return own | (inside if self.output == "both" else {})

    def _check_embedding(self) -> None:
        """Refuse an embedding that is made by a layer as it began."""
        if unlearnt := self.source.unlearnt:
            raise Fault(
                f"nothing taught {self.source.name} to give its embedding ({unlearnt[0]} never"
                " learnt): train it by a method that reads the embedding, as METHOD+rrkd or"
                " sp@embedding; --to safetensors gives the bare weights"
            )

    @property
    def kind(self) -> torch.dtype:
        """The type of the numbers that enter."""
        return torch.uint8 if self.entering == "uint8" else torch.float32

    @cached_property
    def network(self) -> nn.Module:
        """What is written."""
        size = self.source.shape[1:] if self.resized else None
        return Deployed(
            self.source.tapped, self.entering, tuple(self.leaving.values()), size
        ).eval()

    def entered(self, images: Images) -> Tensor:
        """Images in [0, 1] as this file wants them."""
        if self.entering == "uint8":
            return as_bytes(images)
        return self.source.tapped.prepare(images) if self.entering == "normalised" else images

    def axes(self) -> dict[int, Any]:
        """The axes that may be of any length, by the names that a file gives them."""
        free = {} if self.batch else {0: "batch"}
        return free | ({2: "height", 3: "width"} if self.resized else {})

    @cached_property
    def example(self) -> Tensor:
        """A batch to trace with: of two where its length is free, as one would be a special case.

        The images are not square where they may have any size, else nothing would tell height
        from width.
        """
        channels, height, width = self.source.shape
        if self.resized:
            height, width = height + 3, width + 5
        return torch.zeros(self.batch or 2, channels, height, width).to(self.kind)

    @cached_property
    def program(self) -> torch.export.ExportedProgram:
        """The traced computation.

        Raises:
            Fault: it cannot be traced so.
        """
        free = {axis: torch.export.Dim(name, min=1) for axis, name in self.axes().items()}
        try:
            with torch.no_grad(), warnings.catch_warnings(action="ignore"):
                program = torch.export.export(
                    self.network, (self.example,), dynamic_shapes={IMAGES: free}, strict=False
                )
        except Fault:
            raise
        except Exception as error:  # whatever a network's own code may raise when it is traced
            way = "" if self.batch else "; for one batch size alone it may: --batch 1"
            raise Fault(
                f"{self.source.name} cannot be traced by torch.export ({first_line(error)}){way}"
            ) from error
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # where on this machine the network's code lies
        return program


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images of any size at the size of a network, as files of images are read for training.

    Where that is a square, it is the largest one around the centre that is resized; else the whole
    image, as relatum itself cuts squares alone.
    """
    if size[0] == size[1]:
        height, width = images.shape[-2:]
        side = torch.sym_min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        # by padding with less than nothing: a traced slice asks that every height be the least
        cut: list[Any] = [-left, left + side - width, -top, top + side - height]
        images = F.pad(images, cut)
    return F.interpolate(images, size, mode="bilinear", antialias=True)


def as_bytes(images: Images) -> Tensor:
    """Images in [0, 1] as bytes."""
    return (images * 255).round().to(torch.uint8)
