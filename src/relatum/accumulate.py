"""The gradient of a large batch on a small device: exact for losses that compare its samples.

To sum the gradients of small batches would be another training: their relations are not those
of the large one. So the networks run twice (Gao et al., arXiv 2101.06983, do so for contrastive
losses of text): first for what the losses compare, of all samples, without a graph; then, once
the losses have said how that should change, again, a microbatch at a time, to pass it on.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from relatum import world
from relatum.distiller import Around, Distiller
from relatum.objective import Anchors, Losses
from relatum.profiling import region
from relatum.sharding import sharded
from relatum.taps import at_rest
from relatum.types import Batch, Captured, Fault, Images, Value


def coupling_layer(network: nn.Module) -> str | None:
    """The first layer that lets samples see each other while it learns, by its path."""
    kind = nn.modules.batchnorm._BatchNorm
    return next((n for n, each in network.named_modules() if isinstance(each, kind)), None)


def accumulate(
    distiller: Distiller, batch: Batch, microbatch: int, around: Around = nullcontext
) -> Losses:
    """The losses of a batch, with the gradient of their total added to every ``grad``.

    Equal to what ``distiller.losses(batch).total.backward()`` adds, the mean over processes
    included, for a student without layers that couple samples. With BatchNorm, every
    microbatch is normalised by itself, and the running statistics move once for each of them.
    Dropout silences the same units both times. The device holds one microbatch's activations,
    and of all samples only what the losses read: N×D numbers, or whole maps where they read
    those. Costs one more forward pass of the student.

    All processes begin with what the first one holds, and run as many microbatches as each
    other, for a network that is held in parts, or that gathers statistics, needs all of them
    every time. So one of them never has more microbatches than another has samples.

    Args:
        distiller: in training mode.
        batch: this process's part of it, as large as it may be.
        microbatch: samples at a time, on each process, at most, unless another process has so
            few that its share cannot be cut as often.
        around: in which the networks and losses run forward, as autocast.

    Raises:
        Fault: a microbatch of less than one sample, or a student in parts.
    """
    if microbatch < 1:
        raise Fault(f"a microbatch holds at least one sample, got {microbatch}")
    if sharded(distiller.learner):
        raise Fault("a student in parts takes its batches whole; leave the microbatch out")
    learner = distiller.learner
    distiller.begin_alike()
    batch = replace(batch, shares=batch.shares or world.counts(len(batch), batch.images.device))
    parts = _parts(len(batch), batch.shares or (), microbatch)
    random = _Random(batch.images.device)
    with distiller.until():
        before = [each.clone() for each in learner.student.buffers()]
        with around():
            images = learner.student.prepare(batch.images)
            first = [_Pass(images[rows], learner.say) for rows in parts]
            said = _heard(first, random)
            anchors, second = _anchors(distiller, microbatch, random)
            taught = _taught(distiller, batch, parts)
            losses: Losses = learner.objective(said, taught, batch, images, anchors)
        losses.total.backward()  # type: ignore[no-untyped-call]
        _put_back(learner.student, before)  # so they move again as they did, and no further
        with torch.random.fork_rng(random.devices):  # and go on from where the first pass ended
            _again(first, said, parts, random, around)
            if anchors is not None:
                _again(second, anchors.student, _parts_of(second), random, around)
    learning = [each for each in learner.parameters() if each.grad is not None]
    world.average(each.grad for each in learning if each.grad is not None)
    return losses


def rest(distiller: Distiller, batch: Batch, microbatch: int) -> Sequence[str]:
    """As ``distiller.rest``, where the device holds the activations of a microbatch alone."""
    named = distiller.learning()
    with at_rest(distiller.learner), torch.enable_grad():
        accumulate(distiller, batch, microbatch)
    idle = [name for name, parameter in named.items() if parameter.grad is None]
    for parameter in named.values():
        parameter.grad = None
    return distiller.idle(idle)


@dataclass
class _Pass:
    """One microbatch on its way through the student, and the randomness that it met there."""

    images: Images
    say: Callable[[Images], Captured]
    random: list[Tensor] = field(default_factory=list)


def _parts(rows: int, shares: Sequence[int], microbatch: int) -> list[slice]:
    """As many parts on every process, none of them empty, as even as can be."""
    count = max(1, min(-(-max(shares) // microbatch), min(shares)))
    ends = [rows * place // count for place in range(count + 1)]
    return [slice(*each) for each in pairwise(ends)]


def _parts_of(passes: Sequence[_Pass]) -> list[slice]:
    ends = [0]
    for each in passes:
        ends.append(ends[-1] + len(each.images))
    return [slice(*each) for each in pairwise(ends)]


def _heard(passes: Sequence[_Pass], random: "_Random") -> Captured:
    """What is said of all samples, without a graph: the place where its gradient will lie."""
    said: list[Captured] = []
    for each in passes:
        each.random = random.now()
        with torch.no_grad():
            said.append(each.say(each.images))
    whole = _joined(said)
    for value in _tensors(whole):
        value.requires_grad_(value.is_floating_point())
    return whole


def _joined(said: Sequence[Captured]) -> Captured:
    taps: dict[str, Value] = {}
    for name, value in said[0].taps.items():
        if isinstance(value, Tensor):
            taps[name] = torch.cat([each.taps[name] for each in said])  # type: ignore[misc]
        else:
            layers = zip(*(each.taps[name] for each in said), strict=True)
            taps[name] = tuple(torch.cat(layer) for layer in layers)
    return Captured(torch.cat([each.output for each in said]), taps)


def _taught(distiller: Distiller, batch: Batch, parts: Sequence[slice]) -> Captured | None:
    if distiller.teacher is None:
        return None
    taught = []
    for rows in parts:
        with region("teacher"):
            taught.append(distiller.teacher(batch.part(rows)))
    return _joined(taught)


def _anchors(
    distiller: Distiller, microbatch: int, random: "_Random"
) -> tuple[Anchors | None, list[_Pass]]:
    """Fixed anchors go through the student as another batch would."""
    learner = distiller.learner
    if learner.anchors is None:
        return None, []
    images = learner.student.prepare(learner.anchors)
    parts = _parts(len(images), (len(images),), microbatch)
    passes = [_Pass(images[rows], learner.student.read) for rows in parts]
    return Anchors(_heard(passes, random), distiller.taught_anchors()), passes


def _again(
    passes: Sequence[_Pass],
    said: Captured,
    parts: Sequence[slice],
    random: "_Random",
    around: Around,
) -> None:
    """Run every microbatch again, with a graph, and push the gradient of what it said through."""
    for each, rows in zip(passes, parts, strict=True):
        random.set(each.random)
        with around():
            spoken = each.say(each.images)
        values: list[Tensor] = []
        grads: list[Tensor | None] = []
        for value, leaf in zip(_tensors(spoken), _tensors(said), strict=True):
            if leaf.grad is not None and value.requires_grad:
                values.append(value)
                grads.append(leaf.grad[rows])
        torch.autograd.backward(values, grads)


def _tensors(said: Captured) -> Iterator[Tensor]:
    yield said.output
    for value in said.taps.values():
        yield from (value,) if isinstance(value, Tensor) else value


@torch.no_grad()
def _put_back(network: nn.Module, before: Sequence[Tensor]) -> None:
    """Statistics of BatchNorm and the like, as they were before the first pass."""
    for each, value in zip(network.buffers(), before, strict=True):
        each.copy_(value)


class _Random:
    """The states of the generators that dropout draws from."""

    def __init__(self, device: torch.device) -> None:
        self.devices = [device] if device.type == "cuda" else []

    def now(self) -> list[Tensor]:
        return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self.devices)]

    def set(self, states: Sequence[Tensor]) -> None:
        torch.set_rng_state(states[0])
        for state, device in zip(states[1:], self.devices, strict=True):
            torch.cuda.set_rng_state(state, device)
