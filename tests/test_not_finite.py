"""What is not finite is named, with its step, and spoils no checkpoint."""

import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relatum.checkpoint import Saver
from relatum.distiller import Distiller
from relatum.fit import Position, fit
from relatum.losses import CrossEntropy
from relatum.objective import Objective, Term
from relatum.schedules import constant
from relatum.tally import LOOK_EVERY, NotFinite
from tests import toys
from tests.training import made, sgd


class Breaks(nn.Module):
    """Becomes something else at one of its calls, counted from 1."""

    def __init__(self, at: int, value: float) -> None:
        super().__init__()
        self.at, self.value, self.calls = at, value, 0

    def forward(self, student: Tensor) -> Tensor:
        self.calls += 1
        return student.mean() * 0 + (self.value if self.calls == self.at else 1.0)


class Detached(Breaks):
    """Becomes something else from one call on, and hurts nobody."""

    def forward(self, student: Tensor) -> Tensor:
        self.calls += 1
        broken = torch.tensor(self.value if self.calls == self.at else 1.0)
        return student.mean() * 0 + broken


@pytest.mark.parametrize("at", [1, LOOK_EVERY, LOOK_EVERY + 1, 77, 130])
def test_a_term_that_is_not_a_number_is_named_with_its_step(at: int) -> None:
    loss = Breaks(at, math.nan)
    distiller = Distiller(
        toys.student(), None, Objective(ce=Term(CrossEntropy()), broken=Term(loss, weight=0.5))
    )
    source = toys.batches(60, 1, drop_last=True)  # 60 steps an epoch
    distiller.student.network.bn = nn.Identity()
    with pytest.raises(NotFinite) as caught:
        list(fit(distiller, source, sgd(distiller), constant(), 3))
    epoch = (at - 1) // 60 + 1
    assert f"not a number since step {at} (epoch {epoch}) in term 'broken'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert loss.calls - at < 2 * LOOK_EVERY


def test_infinite_is_told_from_not_a_number() -> None:
    loss = Detached(3, math.inf)
    distiller = Distiller(toys.student(), None, Objective(a=Term(loss, weight=1.0)))
    with pytest.raises(NotFinite, match=r"infinite since step 3 .*term 'a'"):
        list(fit(distiller, toys.batches(), sgd(distiller), constant(), 1))


def test_an_update_that_breaks_all_terms_names_them_and_the_update() -> None:
    distiller = made()
    optimizer = sgd(distiller)

    def explode(*_: Any) -> None:
        with torch.no_grad():
            for each in distiller.parameters():
                each.fill_(math.nan)

    training = fit(distiller, toys.batches(), optimizer, constant(), 3)
    next(training)
    explode()
    with pytest.raises(NotFinite, match=r"step 6 \(epoch 2\) in every term: the update of step 5"):
        next(training)


def test_diagnostics_may_be_infinite() -> None:
    class Tells(nn.Module):
        diagnostics = ("odds",)
        odds: Tensor

        def forward(self, student: Tensor) -> Tensor:
            self.odds = torch.tensor(math.inf)
            return student.mean()

    distiller = Distiller(toys.student(), None, Objective(a=Term(Tells())))
    (epoch,) = fit(distiller, toys.batches(), sgd(distiller), constant(), 1)
    assert epoch.losses["a.odds"] == math.inf


def test_parameters_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    distiller = made()
    optimizer = sgd(distiller)
    saver = Saver(tmp_path / "checkpoint.pt", distiller, optimizer, {})
    saver.save(Position(1, 2))
    good = (tmp_path / "checkpoint.pt").read_bytes()
    with torch.no_grad():
        distiller.parameters()[0][0] = math.nan
    with pytest.raises(NotFinite, match=r"parameter 'student.network.conv.weight' is not finite"):
        saver.save(Position(1, 3))
    assert (tmp_path / "checkpoint.pt").read_bytes() == good


def test_a_bad_loss_is_found_before_its_checkpoint_is_written(tmp_path: Path) -> None:
    """The queue or a bank may be spoilt where parameters are not yet."""
    loss = Detached(3, math.nan)
    distiller = Distiller(toys.student(), None, Objective(a=Term(loss), ce=Term(CrossEntropy())))
    optimizer = sgd(distiller)
    saver = Saver(tmp_path / "c.pt", distiller, optimizer, {}, every=0.0)
    with pytest.raises(NotFinite, match="step 3"):
        list(fit(distiller, toys.batches(), optimizer, constant(), 1, saver=saver))
    position = Saver(tmp_path / "c.pt", made_like(distiller), optimizer, {}).restore()
    assert position is not None
    assert position.step == 2


def made_like(distiller: Distiller) -> Distiller:
    return deepcopy(distiller)
