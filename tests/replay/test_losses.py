"""Every loss can be recorded: what it remembers and what it is told lies in tensors."""

import copy

import pytest
import torch
from torch import Tensor

from tests.losses.cases import CASES
from tests.losses.contract import Case, Inputs, changed, leaves
from tests.replay.recorded import Recorded

STEPS = 4


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_recorded_loss_goes_on_as_it_would(case: Case) -> None:
    """Forward and back at fresh inputs, the state moving along: the bits of the usual calls."""
    given = [case.inputs(seed=seed) for seed in range(STEPS)]
    usual, replayed = case.make(), case.make()
    own = copied(given[0])

    def step() -> list[Tensor]:
        return outcome(replayed, own)

    recording = Recorded()
    before = state(replayed)
    found = recording.record(step)
    assert same(state(replayed), before)  # to record is to do nothing
    for inputs in given:
        for place, value in zip(leaves(own).values(), leaves(inputs).values(), strict=True):
            place.copy_(value)
        recording.play()
        wanted = outcome(usual, inputs)
        assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))
        assert same(state(replayed), state(usual))


def outcome(loss: torch.nn.Module, inputs: Inputs) -> list[Tensor]:
    """The value, and the gradients of all that learns."""
    tracked = changed(inputs, lambda value: value.detach())
    student = [each for name, each in leaves(tracked).items() if name.startswith("student")]
    for each in student:
        each.requires_grad_()
    learning = [*student, *(each for each in loss.parameters() if each.requires_grad)]
    value = loss(**tracked)
    grads = torch.autograd.grad(value, learning, allow_unused=True)
    return [value.detach(), *(each for each in grads if each is not None)]


def copied(inputs: Inputs) -> Inputs:
    return copy.deepcopy(inputs)


def state(loss: torch.nn.Module) -> dict[str, Tensor]:
    return {name: each.clone() for name, each in loss.named_buffers()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(each, other[name]) for name, each in one.items())
