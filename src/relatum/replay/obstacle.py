"""Why a training cannot be replayed, found before its first step where that can be."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from relatum import world
from relatum.any_teacher import is_teacher
from relatum.data.batches import Drawn
from relatum.distiller import Distiller
from relatum.replay.fixed import generators
from relatum.several import Teachers
from relatum.sharding import sharded
from relatum.teachers import TeacherFromMemory


@runtime_checkable
class Drawing(Protocol):
    """Batches that are drawn first and cut later; ``relatum.data.Batches`` is one, and says by
    ``resident`` whether they can be: those of a streamed set are decoded by threads."""

    def drawn(self, number: int, start: int = 0) -> Iterator[Drawn]:
        """The batches of an epoch, from a step on, none of them cut."""
        ...


def obstacle(
    distiller: Distiller,
    optimizer: torch.optim.Optimizer,
    batches: object,
    microbatch: int | None = None,
    *,
    anywhere: bool = False,
) -> str | None:
    """What keeps the steps of a training from being recorded, in a few words.

    Args:
        distiller: what is trained.
        optimizer: by which.
        batches: on what.
        microbatch: samples that go through the networks at a time, if not all.
        anywhere: for a recording that needs no CUDA device.

    Returns:
        ``None`` where nothing is known to. A recording may still fail.
    """
    device = next(iter(distiller.learner.parameters())).device
    if world.size() > 1:
        return "several processes train together"
    if sharded(distiller.learner):
        return "the student is held in parts"
    if microbatch is not None:
        return "the batches go through the networks in parts (microbatch)"
    if not isinstance(batches, Drawing) or not getattr(batches, "resident", True):
        return "the batches are not cut out of a set on the device (relatum.data.Batches)"
    if device.type != "cuda" and not anywhere:
        return f"the student is on the {device.type}, and graphs are CUDA's"
    return (
        _of_losses(distiller.objective.losses)
        or _of_teacher(distiller.teacher)
        or _of_optimizer(optimizer, device)
        or _of_randomness(distiller, device)
    )


def _of_losses(losses: nn.ModuleDict) -> str | None:
    for name, loss in losses.items():
        for each in loss.modules():
            if getattr(each, "waits", False):
                return f"term {name!r}: {type(each).__name__} waits for the device at every step"
    return None


def _of_teacher(teacher: object) -> str | None:
    if teacher is None or getattr(teacher, "replays", False):
        return None
    if isinstance(teacher, Teachers):
        return next(filter(None, map(_of_teacher, teacher.members)), None)
    if isinstance(teacher, TeacherFromMemory):
        return "what the teacher said lies on disk, for it takes too much of the GPU's memory"
    kind = f"the teacher is a {type(teacher).__name__}"
    if is_teacher(teacher):
        return f"{kind}, whose call is no function of tensors on the device"
    return f"{kind}, of which nobody knows what it does"


def _of_optimizer(optimizer: torch.optim.Optimizer, device: torch.device) -> str | None:
    for group in optimizer.param_groups:
        rate = group["lr"]
        if not isinstance(rate, Tensor) or rate.device.type != device.type:
            return f"the optimiser's learning rate is no tensor on the {device.type}"
    for kind in ("pre", "post"):
        if getattr(optimizer, f"_optimizer_step_{kind}_hooks", None):
            return "the optimiser has hooks, which a replayed step would not call"
    return None


def _of_randomness(distiller: Distiller, device: torch.device) -> str | None:
    for path, each in generators(distiller.learner):
        if each.device.type != device.type:
            return f"{path} draws from a generator on the {each.device.type}"
    return None
