import math

import pytest

from relatum.schedules import constant, cosine, steps, warmup, weighed
from relatum.types import Fault

PROGRESSES = [step / 240 for step in range(241)]


def test_constant() -> None:
    assert {constant()(progress) for progress in PROGRESSES} == {1.0}


def test_steps_of_the_benchmark() -> None:
    """240 epochs, times 0.1 from each of 150, 180 and 210 on."""
    schedule = steps(at=(150 / 240, 180 / 240, 210 / 240))
    for epoch in range(241):
        passed = sum(epoch >= milestone for milestone in (150, 180, 210))
        assert schedule(epoch / 240) == pytest.approx(0.1**passed)


def test_steps_in_any_order_and_by_any_factor() -> None:
    schedule = steps(at=(0.75, 0.5), factor=0.2)
    assert [schedule(at) for at in (0, 0.49, 0.5, 0.75, 1)] == pytest.approx(
        [1, 1, 0.2, 0.04, 0.04]
    )
    assert steps(at=())(1.0) == 1


@pytest.mark.parametrize("at", [(-0.1,), (0.5, 1.5), (60, 120, 160)])
def test_steps_are_progresses_and_not_epochs(at: tuple[float, ...]) -> None:
    with pytest.raises(Fault, match="between 0 and 1"):
        steps(at=at)


def test_cosine() -> None:
    assert cosine()(0) == 1
    assert cosine()(0.5) == pytest.approx(0.5)
    assert cosine()(1) == pytest.approx(0, abs=1e-15)
    assert cosine()(1 / 3) == pytest.approx((1 + math.cos(math.pi / 3)) / 2)
    assert cosine(end=0.1)(1) == pytest.approx(0.1)
    assert cosine(end=0.1)(0.5) == pytest.approx(0.55)
    values = [cosine(end=0.2)(progress) for progress in PROGRESSES]
    assert values == sorted(values, reverse=True)


def test_warmup_then_the_other_over_the_rest() -> None:
    schedule = warmup(0.2, cosine())
    assert schedule(0) == 0
    assert schedule(0.1) == pytest.approx(0.5)
    assert schedule(0.2) == 1
    assert schedule(0.6) == pytest.approx(0.5)
    assert schedule(1) == pytest.approx(0, abs=1e-15)
    assert warmup(0.2, steps(at=(0.5,)))(0.61) == pytest.approx(0.1)


@pytest.mark.parametrize("until", [0, 1, -0.1, 5])
def test_warmup_ends_on_the_way(until: float) -> None:
    with pytest.raises(Fault, match="between 0 and 1"):
        warmup(until, constant())


@pytest.mark.parametrize("schedule", [constant(), steps((0.5,)), cosine(), warmup(0.3, cosine())])
def test_never_leaves_0_to_1(schedule: object) -> None:
    assert callable(schedule)
    assert all(0 <= schedule(progress) <= 1 for progress in PROGRESSES)


def test_a_weight_that_ends_at_0_cannot_end_elsewhere() -> None:
    with pytest.raises(Fault, match="it ends at 0"):
        weighed(lambda progress: 1 - progress, 2.0)
