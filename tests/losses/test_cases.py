"""The contract leaves nobody out."""

from inspect import isclass

import relatum.losses
from tests.losses import test_contract, test_ranks
from tests.losses.cases import CASES


def test_every_loss_has_a_case() -> None:
    named = [getattr(relatum.losses, name) for name in relatum.losses.__all__]
    assert {case.loss for case in CASES} == set(filter(isclass, named))  # functions need none
    assert all(getattr(relatum.losses, case.loss.__name__) is case.loss for case in CASES)


def test_names_are_unique() -> None:
    assert len({str(case) for case in CASES}) == len(CASES)


def test_excuses_name_points() -> None:
    points = {name.removeprefix("test_") for name in (*vars(test_contract), *vars(test_ranks))}
    for case in CASES:
        assert set(case.excused) <= points
        assert all(case.excused.values()), "an excuse has a reason"
