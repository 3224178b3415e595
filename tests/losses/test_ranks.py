"""Every loss, on one process and on eight, at once or in microbatches, is the same training.

A small student without BatchNorm goes the whole way: an ``Objective``, a ``Distiller``, and then
DDP or ``accumulate``. Run as a module this file is one of the processes.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from relatum import losses, world
from relatum.accumulate import accumulate
from relatum.distiller import Distiller
from relatum.objective import Losses
from relatum.types import Batch, Fault
from tests.losses.cases import CASES
from tests.losses.cases.maps import MAP
from tests.losses.choir import IMAGE, ROWS, made
from tests.losses.contract import EMBEDDINGS, Case, Outcome, batched, called, changed
from tests.processes import SECONDS, start

STEPS = 2
WORLDS = (8, 4, 2) if os.environ.get("RELATUM_TEST_LONG") else (2,)
"""Four and eight processes that share two processors are waited for by `make long`."""
SHARES: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((16,), (16,)),
    2: ((8, 8), (3, 13)),
    4: ((4, 4, 4, 4), (7, 2, 4, 3)),
    8: ((3, 1, 2, 1, 4, 2, 1, 2), (2,) * 8),
}
"""How the batch of each step is shared out, by the number of processes."""
MICROBATCHES = {1: (5, 1), 2: (3, 2), 4: (1, 3), 8: (2, 1)}
TOLERANCE, NOISE = 1e-9, 1e-14
"""Relative to the largest entry; and what rounding leaves of a gradient that is zero."""
POINT = "every_world_trains_as_one_process"
Found = dict[str, Tensor]
Worked = dict[str, dict[str, Found]]
"""By way and by case."""


class ForgetfulSP(losses.SP):
    """A loss that couples samples and does not say so."""

    relational = False


class ForgetfulRRD(losses.RRD):
    """Its value is a mean over samples; it couples by what it keeps of them."""

    relational = False


class ForgetfulFitNet(losses.FitNet):
    """It couples by its BatchNorm."""

    relational = False


FORGETFUL = (
    Case(loss=ForgetfulSP, shapes=EMBEDDINGS),
    Case(
        loss=ForgetfulRRD,
        settings={
            "student_dim": 6,
            "teacher_dim": 5,
            "dim": 4,
            "queue_size": 12,
            "enqueue": "after",
        },
        shapes=EMBEDDINGS,
    ),
    Case(
        loss=ForgetfulFitNet,
        settings={"student_shape": MAP["student"], "teacher_shape": MAP["teacher"]},
        shapes=MAP,
    ),
)


def batch(step: int) -> Batch:
    """This process's part of a step's batch."""
    shares = SHARES[world.size()][step]
    first = sum(shares[: world.rank()])
    drawn = Case(loss=nn.Module, shapes={"images": IMAGE, "labels": (), "indices": ()}).inputs(
        ROWS, seed=step, dtype=torch.float64
    )
    cut = changed(drawn, lambda value: value[first : first + shares[world.rank()]])
    return Batch(**cut, shares=shares)  # type: ignore[arg-type]


def at_once(distiller: Distiller, step: int) -> Losses:
    distiller.spread(batch(step))
    found = distiller.losses(batch(step))
    found.total.backward()  # type: ignore[no-untyped-call]
    return found


def in_parts(distiller: Distiller, step: int) -> Losses:
    return accumulate(distiller, batch(step), MICROBATCHES[world.size()][step])


WAYS = {"at once": at_once, "in microbatches": in_parts}


def trained(cases: Sequence[Case], way: str) -> dict[str, Found]:
    """What two steps give each loss: value, gradients of student and of heads, state."""
    distiller = made(cases)
    every: dict[str, Found] = {str(case): {} for case in cases}
    for step in range(STEPS):
        for parameter in distiller.learner.parameters():
            parameter.grad = None
        told = WAYS[way](distiller, step)
        values = world.mean(torch.stack([told.parts[case] for case in every]))
        for found, value in zip(every.values(), values, strict=True):
            found[f"step {step}, value"] = value
        for name, parameter in distiller.named_parameters().items():
            case, own = name.removeprefix("objective.").split(".", 2)[1:]
            if parameter.grad is not None:
                every[case][f"step {step}, gradient of {own}"] = parameter.grad.clone()
        for name, buffer in distiller.objective.named_buffers():
            if name.startswith("losses."):
                case, own = name.split(".", 2)[1:]
                every[case][f"step {step}, state {own}"] = buffer.clone()
    return every


def worked() -> Worked:
    """What every way gives every case, in the world as it is."""
    anchored = [case for case in CASES if "student_anchors" in case.shapes]
    others = [case for case in CASES if case not in anchored]
    return {
        way: {
            name: found
            for cases in (others, anchored, FORGETFUL)
            for name, found in trained(cases, way).items()
        }
        for way in WAYS
    }


def apart(found: Found, wanted: Found) -> str:
    """What differs from what is wanted, and by how much; nothing if all is the same."""
    if found.keys() != wanted.keys():
        return f"other tensors: {sorted(found.keys() ^ wanted.keys())}"
    largest = max(float(each.abs().max()) for each in wanted.values() if each.is_floating_point())
    for name, value in wanted.items():
        if not value.is_floating_point():
            if not torch.equal(found[name], value):
                return f"{name} differs"
            continue
        off = float((found[name] - value).abs().max())
        scale = float(value.abs().max())
        if not off <= TOLERANCE * scale + NOISE * largest:
            return f"{name} differs by {off:.1e}, where the largest entry is {scale:.1e}"
    return ""


def unlike(found: Sequence[Found]) -> str:
    """The first gradient or state that two processes hold with different bits."""
    for name, value in found[0].items():
        if not all(torch.equal(each[name], value) for each in found[1:]):
            return f"{name} is not the same on all processes"
    return ""


def complaints(results: Sequence[dict[int, Worked]]) -> Iterator[tuple[int, str, str]]:
    """World, case and what is wrong with it."""
    alone = worked()
    for name, wanted in alone["at once"].items():
        if wrong := apart(alone["in microbatches"][name], wanted):
            yield 1, name, f"in microbatches: {wrong}"
        for size in WORLDS:
            for way in WAYS:
                every = [each[size][way][name] for each in results[:size]]
                if wrong := unlike(every) or apart(every[0], wanted):
                    yield size, name, f"{way}: {wrong}"


def test_every_world_trains_as_one_process() -> None:
    found = list(complaints(start("tests.losses.test_ranks", max(WORLDS))))
    amiss = {*map(str, FORGETFUL), *(str(case) for case in CASES if POINT in case.excused)}
    wrong = [f"{size} processes, {name}, {what}" for size, name, what in found if name not in amiss]
    assert not wrong, "\n".join(wrong)
    missed = {(size, name) for size in WORLDS for name in amiss} - {each[:2] for each in found}
    assert not missed, f"these ought to differ, and do not: {sorted(missed)}"


def couples(case: Case) -> bool:
    """Whether a loss on a batch is anything but the mean of what it is on parts of it."""
    rows = 8
    cuts = (slice(0, 2), slice(2, 5), slice(5, rows))
    inputs = case.inputs(rows, dtype=torch.float64)

    def one(cut: slice) -> tuple[Outcome, Found]:
        loss = case.make().double()
        outcome = called(loss, changed(inputs, lambda value: value[cut], only=batched))
        said = getattr(loss, "diagnostics", ())
        kept = {name: b.clone() for name, b in loss.named_buffers() if name not in said}
        return outcome, kept

    whole, state = one(slice(None))
    try:
        parts = [one(cut) for cut in cuts]
    except Fault:  # it will have none but whole batches
        return True
    weights = [(cut.stop - cut.start) / rows for cut in cuts]
    mean = torch.stack([w * part.value for w, (part, _) in zip(weights, parts, strict=True)]).sum()
    close = torch.isclose(mean, whole.value, rtol=TOLERANCE, atol=1e-12)
    return not close or any(
        not torch.equal(kept[name], value) for _, kept in parts for name, value in state.items()
    )


def declared(case: Case) -> bool:
    return bool(getattr(case.make(), "relational", False))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_loss_that_couples_samples_says_so(case: Case) -> None:
    assert declared(case) or not couples(case), (
        f"{case.loss.__name__} couples the samples of a batch: it needs `relational = True`"
    )


@pytest.mark.parametrize("case", FORGETFUL, ids=str)
def test_one_that_forgets_to_say_so_is_found(case: Case) -> None:
    assert couples(case)
    assert not declared(case)


def main() -> None:
    """Be one of the processes, in every world that it is part of."""
    rank, folder = int(sys.argv[1]), Path(sys.argv[3])
    found: dict[int, Worked] = {}
    for size in (each for each in WORLDS if rank < each):
        dist.init_process_group(
            "gloo",
            init_method=f"file://{folder}/{size} together",
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=SECONDS),
        )
        found[size] = worked()
        dist.barrier()
        dist.destroy_process_group()
    torch.save(found, folder / f"{rank}.pt")


if __name__ == "__main__":
    main()
