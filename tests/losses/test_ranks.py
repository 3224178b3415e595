"""Every loss on two processes with uneven shares equals the loss on one with the whole batch.

Run as a module (``python -m tests.losses.test_ranks 0 FOLDER``) this file is one process.
"""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import relatum
from relatum import losses, world
from tests.losses.contract import CASES, Case, Inputs, batched, changed, leaves, learns

ROOT = Path(__file__).parents[2]
WORLD, SHARES, STEPS, SECONDS = 2, (5, 3), 3, 60


class Forgetful(losses.SP):
    """A loss that couples samples and does not say so."""

    relational = False


FORGETFUL = Case(loss=Forgetful, shapes={"student": (6,), "teacher": (5,)})
Result = dict[str, Tensor]


def share(value: Tensor) -> Tensor:
    """This process's rows of a batch; all of them when it is alone."""
    return value.split(SHARES)[world.rank()] if world.size() > 1 else value


def gathered(inputs: Inputs) -> Inputs:
    def gather(value: Tensor) -> Tensor:
        return world.gather(value, world.counts(len(value), value.device))

    return changed(inputs, gather, only=batched)


def averaged(value: Tensor) -> Tensor:
    """The mean over processes: what DDP does to gradients."""
    if world.size() > 1:
        dist.all_reduce(value)
    return value / world.size()


def trained(case: Case) -> Result:
    """What a few steps give: values, gradients of a stand-in student and of heads, state."""
    loss = case.make().double()
    results: Result = {}
    for step in range(STEPS):
        whole = case.inputs(sum(SHARES), seed=step, dtype=torch.float64)
        own = changed(whole, share, only=batched)
        # a student of one parameter per feature, which every sample passes through
        weights = {
            name: torch.ones_like(value[:1]).requires_grad_()
            for name, value in leaves(own).items()
            if learns(name)
        }
        for name in filter(learns, list(own)):
            value = own[name]
            own[name] = (
                tuple(each * weights[f"{name}.{place}"] for place, each in enumerate(value))
                if isinstance(value, tuple)
                else value * weights[name]
            )
        loss.zero_grad()
        if getattr(loss, "relational", False):
            total = loss(**gathered(own))
        else:
            rows = len(next(iter(leaves(own).values())))
            total = loss(**own) * (rows * world.size() / sum(SHARES))
        total.backward()
        results[f"{step} value"] = averaged(total.detach().clone())
        parameters = {**dict(loss.named_parameters()), **weights}
        for name, parameter in parameters.items():
            if parameter.grad is not None:
                results[f"{step} gradient of {name}"] = averaged(parameter.grad)
        results |= {f"{step} state {n}": buffer.clone() for n, buffer in loss.named_buffers()}
    return results


def main(rank: int, folder: Path) -> None:
    """One of the processes: every case, saved into the folder."""
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=WORLD,
        timeout=timedelta(seconds=SECONDS),
    )
    torch.save({str(case): trained(case) for case in (*CASES, FORGETFUL)}, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def pair() -> tuple[dict[str, Result], ...]:
    """What each of two processes got, by case: they are started once for all cases."""
    paths = [str(ROOT), str(Path(relatum.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.losses.test_ranks"]
        started = [
            subprocess.Popen([*command, str(rank), folder], env=environment, cwd=ROOT)
            for rank in range(WORLD)
        ]
        try:
            assert [each.wait(SECONDS) for each in started] == [0] * WORLD
        finally:
            for each in started:
                each.kill()
        return tuple(torch.load(Path(folder, f"{rank}.pt")) for rank in range(WORLD))


def equal(case: Case, pair: tuple[dict[str, Result], ...]) -> None:
    alone = trained(case)
    for result in (each[str(case)] for each in pair):
        torch.testing.assert_close(result, alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_process_and_two_agree(case: Case, pair: tuple[dict[str, Result], ...]) -> None:
    equal(case, pair)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_state_is_the_same_on_both(case: Case, pair: tuple[dict[str, Result], ...]) -> None:
    first, second = (each[str(case)] for each in pair)
    for name in first:
        if "state" in name:
            assert torch.equal(first[name], second[name])


def test_a_loss_that_forgets_to_say_relational_is_found(
    pair: tuple[dict[str, Result], ...],
) -> None:
    with pytest.raises(AssertionError, match="not close"):
        equal(FORGETFUL, pair)


if __name__ == "__main__":
    arguments: list[Any] = sys.argv[1:]
    main(int(arguments[0]), Path(arguments[1]))
