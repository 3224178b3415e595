"""A training that was cut goes on to the same bits, from wherever that was."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relatum.checkpoint import Saver
from relatum.distiller import Distiller
from relatum.fit import Epoch, Position, fit
from relatum.losses import CrossEntropy
from relatum.objective import Objective, Term
from relatum.schedules import constant, cosine
from relatum.tally import LOOK_EVERY
from tests import toys
from tests.training import STEPS, made, sgd


class Halt(Exception):
    """The power is cut."""


class Cut(Saver):
    """Saves before one step of one epoch, and is cut off there."""

    def __init__(self, at: tuple[int, int], *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._at = at

    def due(self) -> bool:
        return True

    def save(self, position: Position) -> None:
        if (position.epoch, position.step) == self._at:
            super().save(position)
            raise Halt

    def epoch_ended(self, position: Position) -> None:
        self.save(position)


Whole = tuple[dict[str, Tensor], dict[str, Tensor], list[Epoch]]


@pytest.fixture(scope="module")
def uncut() -> Whole:
    """State, momenta and epochs of a training that nobody stopped."""
    distiller = made()
    optimizer = sgd(distiller, tensor=True)
    found = list(fit(distiller, toys.batches(), optimizer, cosine(), 3))
    return toys.state(distiller.learner), momenta(optimizer), found


def momenta(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    saved = optimizer.state_dict()["state"]
    return {str(place): each["momentum_buffer"].clone() for place, each in saved.items()}


@pytest.mark.parametrize("at", [(1, 1), (1, STEPS), (2, 0), (2, 3), (3, STEPS - 1), (4, 0)])
def test_it_goes_on_to_the_same_bits(tmp_path: Path, uncut: Whole, at: tuple[int, int]) -> None:
    wanted = uncut
    distiller = made()
    optimizer = sgd(distiller, tensor=True)
    saver = Cut(at, tmp_path / "checkpoint.pt", distiller, optimizer, {})
    with pytest.raises(Halt):
        list(fit(distiller, toys.batches(), optimizer, cosine(), 3, saver=saver))
    torch.manual_seed(999)
    distiller = made()
    with torch.no_grad():
        for each in distiller.parameters():
            each.mul_(0.5)
    torch.rand(17)
    optimizer = sgd(distiller, tensor=True)
    start = Saver(tmp_path / "checkpoint.pt", distiller, optimizer, {}).restore()
    assert start is not None
    assert (start.epoch, start.step) == at
    rest = list(fit(distiller, toys.batches(), optimizer, cosine(), 3, start=start))
    assert toys.same(toys.state(distiller.learner), {**wanted[0], **unsaved(distiller)})
    assert toys.same(momenta(optimizer), wanted[1])
    assert [each.number for each in rest] == list(range(at[0], 4))
    for ours, theirs in zip(rest, wanted[2][at[0] - 1 :], strict=True):
        assert dict(ours.losses) == dict(theirs.losses)
        assert (ours.steps, ours.samples) == (theirs.steps, theirs.samples)


def unsaved(distiller: Distiller) -> dict[str, Tensor]:
    """What losses note for the log alone, and weights, which are set anew at every step."""
    saved = distiller.learner.state_dict()
    return {name: each for name, each in toys.state(distiller.learner).items() if name not in saved}


def test_a_long_epoch_goes_on_to_the_same_means(tmp_path: Path) -> None:
    """Cut in the middle of a table, after the first was turned over."""
    source = toys.batches(2 * LOOK_EVERY + 31, 1)
    at = (1, LOOK_EVERY + 13)

    def small() -> Distiller:
        network = toys.student(dropout=0.5)
        network.network.bn = nn.Identity()
        torch.manual_seed(7)
        return Distiller(network, None, Objective(ce=Term(CrossEntropy())))

    first = small()
    (wanted,) = fit(first, source, sgd(first), constant(), 1)
    second = small()
    optimizer = sgd(second)
    saver = Cut(at, tmp_path / "c.pt", second, optimizer, {})
    with pytest.raises(Halt):
        list(fit(second, source, optimizer, constant(), 1, saver=saver))
    third = small()
    optimizer = sgd(third)
    start = Saver(tmp_path / "c.pt", third, optimizer, {}).restore()
    (found,) = fit(third, source, optimizer, constant(), 1, start=start)
    assert dict(found.losses) == dict(wanted.losses)
    assert found.samples == wanted.samples
    assert toys.same(toys.state(first.learner), toys.state(third.learner))
