"""The network that is learnt from, and that cannot learn."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from relatum.folding import LINEAR, fold
from relatum.precision import HALVES
from relatum.sharding import full_state, shard
from relatum.taps import Tapped, Taps
from relatum.types import Batch, Captured, Fault, Images, Input, Labels, Value


class Teacher(nn.Module):
    """A tapped network that cannot learn.

    It is always in evaluation mode, whatever calls ``train`` on it or on what it is part of;
    it never builds a graph; and it stays out of the optimiser, of DDP and of checkpoints. Its
    parameters and buffers are the same after training, bit for bit. One in half precision
    computes and speaks in that, whatever autocast says; losses raise what it said.

    Args:
        network: the trained network. Its parameters are marked as not learning, nothing else
            about it is changed.
        taps: as ``Tapped`` takes them.
        input: the size and normalisation that *this* network was trained with.
        precision: ``torch.bfloat16`` to run under autocast of its own, whatever surrounds it.

    Attributes:
        folded: how many norms are folded into the layers before them, in a copy that is quick.
    """

    has_output = runs = encodes = replays = True  # what it may be asked: relatum.any_teacher
    views = 1

    def __init__(
        self,
        network: nn.Module,
        taps: Taps,
        input: Input | None = None,
        precision: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.tapped = Tapped(network.requires_grad_(False), taps, input)
        self.folded = 0
        self._precision = precision
        self._read: Callable[[Images], Captured] = self.tapped.read
        self.train(False)

    def quick(
        self, images: Images, precision: torch.dtype = torch.bfloat16, *, compiled: bool = False
    ) -> "Teacher":
        """A copy that says nearly the same in less time.

        Its BatchNorm is folded into its convolutions (``relatum.folding``), which changes the
        rounding of float32 alone; it is laid out channels last; and at ``torch.bfloat16`` it
        runs under autocast, with weights that are cast once, and not at every step.

        Args:
            images: a few, in [0, 1], on its device, to see that the copy says the same.
            precision: what it multiplies in: float32 or bfloat16.
            compiled: let ``torch.compile`` fuse what lies between its layers.
        """
        tapped, folded = fold(self.tapped, images)
        network = tapped.only(set()).network  # its hooks go: it is tapped anew
        reduced = precision if precision in HALVES else None
        if reduced is not None:
            for module in network.modules():
                if isinstance(module, (*LINEAR, nn.ConvTranspose2d)):
                    module.to(reduced)
        copy = Teacher(network, self.taps, self.tapped.input, reduced)
        copy.folded = folded
        copy.tapped.channels_last().to(self.tapped.mean.device)
        if compiled:
            copy._read = torch.compile(copy.tapped.read, dynamic=False)
        return copy

    def shard(
        self,
        device: torch.device | str,
        dtype: torch.dtype | None = None,
        paths: Sequence[str] | None = None,
    ) -> Self:
        """Hold it in parts, one on each process of the training (``relatum.sharding``).

        Its parameters and what it says have the same bits as before, if its type is the same.
        Alone, it comes to the device as a whole.

        Args:
            device: where this process computes. The network may still be elsewhere: no more
                than a part and one block of it is ever on the device.
            dtype: the type of number to hold it in, and to compute in; its own by default.
            paths: of the blocks that are gathered one at a time; found in it by default.
        """
        self.network.to(dtype=dtype)
        shard(self.tapped, device, paths)
        return self

    @property
    def network(self) -> nn.Module:
        """The bare network."""
        return self.tapped.network

    @property
    def taps(self) -> Taps:
        """The places that are read."""
        return self.tapped.taps

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, batch: Batch) -> Captured:
        """What it says about a batch."""
        return self.encode(batch.images)

    def encode(self, images: Images) -> Captured:
        """What it says about images in [0, 1]."""
        if any(module.training for module in self.modules()):
            self.train(False)
        # not inference_mode: its tensors cannot be saved for a projector's backward pass
        with torch.no_grad(), self._as_it_is(images.device.type):
            return self._read(self.tapped.prepare(images))

    def until(self, names: Iterable[str]) -> AbstractContextManager[None]:
        """Run no further than to the last of these taps, for a while."""
        return self.tapped.until(names)

    def _as_it_is(self, device: str) -> AbstractContextManager[object]:
        if self._precision is not None:
            return torch.autocast(device, self._precision, cache_enabled=False)
        kind = next((each.dtype for each in self.network.parameters()), None)
        return torch.autocast(device, enabled=False) if kind in HALVES else nullcontext()

    def state(self) -> Mapping[str, torch.Tensor]:
        """A copy of its parameters and buffers on the CPU: to see that they did not change.

        Whole ones, of a teacher in parts too: all processes ask for it together.
        """
        return full_state(self.network)


class Remembered(Protocol):
    """What a teacher once said at one tap, of every view and sample (``relatum.cache``)."""

    @property
    def device(self) -> torch.device:
        """Where places are wanted."""
        ...

    def rows(self, places: Tensor, device: torch.device) -> Value:
        """Those at view · samples + sample, on a device, in the type in which they were said."""
        ...


class TeacherFromMemory:
    """Says what is known of every sample of a set: it reads ``indices`` and ``view``, no images.

    It waits for the device once an epoch at most, where values lie on disk and indices on a GPU:
    the order that those are a part of then comes to the host.

    Args:
        values: what it says, by the names of taps; ``"output"`` is what a network returns.
        samples: of the set.
        views: in how many ways each was augmented; in one, any ``view`` is that.

    Raises:
        Fault: when called, a view that it does not know, or an index beyond the set (on a GPU,
            torch stops there).
    """

    runs = encodes = False  # what it may be asked: relatum.any_teacher

    def __init__(self, values: Mapping[str, Remembered], samples: int, views: int = 1) -> None:
        self.values = dict(values)
        self.samples, self.views = samples, views
        self._order: tuple[Tensor, int, Tensor] | None = None

    @property
    def taps(self) -> frozenset[str]:
        """The names of what is known, ``"output"`` among them."""
        return frozenset(self.values)

    @property
    def has_output(self) -> bool:
        """Whether what a network returns is known."""
        return "output" in self.values

    @property
    def replays(self) -> bool:
        """Whether one call is a function of tensors on the device, which a CUDA graph can hold."""
        return all(each.device.type == "cuda" for each in self.values.values())

    def __call__(self, batch: Batch) -> Captured:
        """What it said about the samples of a batch."""
        if self.views > 1 and not 0 <= batch.view < self.views:
            raise Fault(
                f"the teacher remembers {self.views} views of each sample, from 0, and not view"
                f" {batch.view}; cut batches by Batches(views={self.views})"
            )
        first = batch.view * self.samples if self.views > 1 else 0
        there = batch.indices.device
        places: dict[torch.device, Tensor] = {}
        said: dict[str, Value] = {}
        for name, values in self.values.items():
            if values.device not in places:
                indices = batch.indices if values.device == there else self._host(batch.indices)
                self._check(indices)
                places[values.device] = indices + first
            said[name] = values.rows(places[values.device], there)
        output = said.pop("output", None)
        assert not isinstance(output, tuple)
        return Captured(torch.empty(0, device=there) if output is None else output, said)

    def encode(self, images: Images) -> Captured:
        """Nothing: it knows the images of its set.

        Raises:
            Fault: always.
        """
        raise Fault("a table says nothing of images that are not of its set, as anchors")

    def until(self, names: Iterable[str]) -> AbstractContextManager[None]:
        """As ever: nothing runs."""
        return nullcontext()

    def _check(self, indices: Labels) -> None:
        if indices.device.type != "cpu" or not len(indices):
            return
        if not 0 <= int(indices.min()) <= int(indices.max()) < self.samples:
            raise Fault(
                f"the teacher remembers samples 0 to {self.samples - 1}, and was asked about"
                f" {int(indices.max())}; is it of another set?"
            )

    def _host(self, indices: Labels) -> Labels:
        """Indices on the CPU. Those that are a part of an epoch's order come with all of it."""
        order = indices._base
        if order is None or order.ndim != 1 or indices.stride() != (1,) or order.stride() != (1,):
            return indices.cpu()
        known = self._order
        if known is None or known[0] is not order or known[1] != order._version:
            self._order = known = order, order._version, order.cpu()
        start = indices.storage_offset() - order.storage_offset()
        return known[2][start : start + len(indices)]


class CachedTeacher(TeacherFromMemory):
    """A teacher that says from memory what it said once of every sample of a set.

    Args:
        live: the teacher that said it. It still speaks for itself of what is not of the set:
            fixed anchors, images to evaluate on.
        values: what it said, by the names of taps; ``"output"`` is what the network returned.
        samples: of the set.
        views: in how many ways each was augmented; in one, any ``view`` is that.

    Raises:
        Fault: in the constructor, a name is none of the live teacher's taps; when called, as
            ``TeacherFromMemory``.
    """

    encodes = True

    def __init__(
        self, live: Teacher, values: Mapping[str, Remembered], samples: int, views: int = 1
    ) -> None:
        for name in values:
            if name != "output" and name not in live.taps:
                has = ", ".join(live.taps) or "none"
                raise Fault(f"the teacher remembers {name!r}, which is none of its taps: {has}")
        super().__init__(values, samples, views)
        self.live = live

    @property
    def replays(self) -> bool:
        """As of ``TeacherFromMemory``: its values lie where it does."""
        return all(each.device == self.live.tapped.mean.device for each in self.values.values())

    def encode(self, images: Images) -> Captured:
        """What the live teacher says about images in [0, 1]."""
        return self.live.encode(images)
