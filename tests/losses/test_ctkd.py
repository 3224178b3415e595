import math
from typing import Any

import pytest
import torch
from torch import Tensor

from relatum.losses import CTKD, DIST, DKD, KD, LSKD
from relatum.losses.lskd import standardised
from relatum.objective import Objective, Term
from tests.losses.numbers import randn, waves

WARMTH = 1 + 20 / (1 + math.exp(-1))
"""At the start."""


def slope(loss: CTKD, *given: Tensor) -> float:
    loss.zero_grad()
    loss(*given).backward()
    assert loss.theta.grad is not None
    return float(loss.theta.grad)


def test_is_kd_at_the_learned_temperature() -> None:
    student, teacher, _ = waves()
    loss = CTKD().double()
    torch.testing.assert_close(loss(student, teacher), KD(WARMTH)(student, teacher))
    with torch.no_grad():
        loss.theta.fill_(-3.0)
    warmth = 1 + 20 / (1 + math.exp(3))
    torch.testing.assert_close(loss(student, teacher), KD(warmth)(student, teacher))


def test_other_losses_are_themselves_at_that_temperature() -> None:
    student, teacher, labels = waves()
    dkd = CTKD(DKD(beta=2.0)).double()(student, teacher, labels)
    torch.testing.assert_close(dkd, DKD(beta=2.0, temperature=WARMTH)(student, teacher, labels))
    coupling = CTKD(DIST()).double()
    torch.testing.assert_close(
        coupling(student, teacher), DIST(temperature=WARMTH)(student, teacher)
    )
    assert coupling.relational
    assert not CTKD().relational


def test_range_of_the_temperature() -> None:
    loss = CTKD(lowest=2.0, span=3.0)
    for theta, warmth in ((-100.0, 2.0), (0.0, 3.5), (100.0, 5.0)):
        with torch.no_grad():
            loss.theta.fill_(theta)
        loss(randn(2, 3), randn(2, 3, seed=1))
        assert float(loss.temperature) == pytest.approx(warmth)


def test_gradient_of_the_temperature_is_reversed_and_the_students_is_not() -> None:
    student, teacher, _ = waves()
    loss, tiny = CTKD().double(), 1e-6
    with torch.no_grad():
        values = []
        for theta in (1 - tiny, 1 + tiny):
            loss.theta.fill_(theta)
            values.append(float(loss(student, teacher)))
        loss.theta.fill_(1.0)
    true = (values[1] - values[0]) / (2 * tiny)
    assert abs(true) > 1e-4
    assert slope(loss, student, teacher) == pytest.approx(-true, rel=1e-5)
    given = student.requires_grad_()
    own, plain = (
        torch.autograd.grad(each(given, teacher), given)[0] for each in (loss, KD(WARMTH))
    )
    torch.testing.assert_close(own, plain)


def test_a_step_makes_it_harder() -> None:
    student, teacher, _ = waves()
    loss = CTKD().double()
    before = loss(student, teacher)
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.1)
    before.backward()
    optimizer.step()
    assert loss(student, teacher) > before


def test_ramp_is_half_a_cosine_over_ten_of_240_epochs() -> None:
    student, teacher, _ = waves()
    loss = CTKD().double()
    full = slope(loss, student, teacher)
    for epoch in (0, 1, 5, 9, 10, 11, 240):
        loss.at(epoch / 240)
        # the authors' schedule, from 0 to -1 in 10 loops
        share = 1 - (math.cos(min(epoch, 10) * math.pi / 10) + 1) / 2
        assert slope(loss, student, teacher) == pytest.approx(share * full, rel=1e-6, abs=1e-12)


def test_ramp_is_as_long_as_it_is_told() -> None:
    student, teacher, _ = waves()
    for ramp, progress, share in ((0.5, 0.25, 0.5), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)):
        loss = CTKD(ramp=ramp).double()
        full = slope(loss, student, teacher)
        loss.at(progress)
        assert slope(loss, student, teacher) == pytest.approx(share * full)


def test_the_value_does_not_depend_on_the_ramp() -> None:
    student, teacher, _ = waves()
    loss = CTKD()
    values: list[Any] = []
    for progress in (0.0, 0.02, 1.0):
        loss.at(progress)
        values.append(loss(student, teacher))
    assert values[0] == values[1] == values[2]


def test_the_objective_tells_it_how_far_the_training_is() -> None:
    loss = CTKD()
    objective = Objective(ctkd=Term(loss))
    objective.at(0.0)
    assert float(loss.reversal) == 0
    objective.at(1 / 48)
    assert float(loss.reversal) == pytest.approx(-0.5)


def test_the_objective_tells_it_within_another_loss() -> None:
    loss = CTKD()
    objective = Objective(lskd=Term(LSKD(loss=loss)), kd=Term(LSKD()))
    objective.at(0.0)
    assert float(loss.reversal) == 0


def test_around_it_logits_can_be_standardised() -> None:
    student, teacher, _ = waves()
    torch.testing.assert_close(
        LSKD(loss=CTKD().double())(student, teacher),
        KD(WARMTH)(standardised(student), standardised(teacher)),
    )


def test_only_theta_is_saved_and_the_temperature_is_noted_in_training() -> None:
    loss = CTKD()
    assert set(loss.state_dict()) == {"theta"}
    with torch.no_grad():
        loss.theta.fill_(0.0)
    loss.eval()(randn(2, 3), randn(2, 3, seed=1))
    assert float(loss.temperature) == pytest.approx(WARMTH)
    loss.train()(randn(2, 3), randn(2, 3, seed=1))
    assert float(loss.temperature) == 11
