"""Every loss on two processes with uneven shares equals the loss on one with the whole batch.

Run as a module this file is one of the processes.
"""

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from relatum import losses, world
from tests.losses.cases import CASES
from tests.losses.contract import Case, Inputs, batched, changed, learns, leaves
from tests.processes import join, start

SHARES, STEPS = (5, 3), 3


class Forgetful(losses.SP):
    """A loss that couples samples and does not say so."""

    relational = False


FORGETFUL = Case(loss=Forgetful, shapes={"student": (6,), "teacher": (5,)})
Result = dict[str, Tensor]
Pair = list[dict[str, Result]]


def share(value: Tensor) -> Tensor:
    """This process's rows of a batch; all of them when it is alone."""
    return value.split(SHARES)[world.rank()] if world.size() > 1 else value  # type: ignore[no-untyped-call]


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


@pytest.fixture(scope="module")
def pair() -> Pair:
    """What each of two processes got, by case: they are started once for all cases."""
    return start("tests.losses.test_ranks")


def equal(case: Case, pair: Pair) -> None:
    alone = trained(case)
    for result in (each[str(case)] for each in pair):
        torch.testing.assert_close(result, alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_process_and_two_agree(case: Case, pair: Pair) -> None:
    equal(case, pair)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_state_is_the_same_on_both(case: Case, pair: Pair) -> None:
    first, second = (each[str(case)] for each in pair)
    for name in first:
        if "state" in name:
            assert torch.equal(first[name], second[name])


def test_a_loss_that_forgets_to_say_relational_is_found(
    pair: Pair,
) -> None:
    with pytest.raises(AssertionError, match="not close"):
        equal(FORGETFUL, pair)


if __name__ == "__main__":
    join(lambda: {str(case): trained(case) for case in (*CASES, FORGETFUL)})
