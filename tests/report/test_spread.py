import math

import numpy as np
import pytest
from scipy import stats

from relatum.report.spread import Spread, difference


def test_spread_by_hand() -> None:
    spread = Spread.of([95.0, 97.0, 96.0, 96.0])
    assert spread.mean == 96
    assert spread.std == pytest.approx(math.sqrt(2 / 3))
    assert spread.n == 4


def test_one_number_has_no_spread() -> None:
    assert Spread.of([95.0]).std is None


def test_paired_by_hand() -> None:
    """Differences 2, 1, 3: mean 2, standard error 1/√3, and t = 4.302653 with two degrees."""
    found = difference({0: 97.0, 1: 98.0, 2: 99.0}, {2: 96.0, 0: 95.0, 1: 97.0})
    half = 4.302653 / math.sqrt(3)
    assert found.paired
    assert found.mean == pytest.approx(2)
    assert found.interval == pytest.approx((2 - half, 2 + half), abs=1e-5)
    assert not found.clear


def test_paired_is_scipys() -> None:
    one, other = np.random.default_rng(0).normal(size=(2, 7))
    found = difference(dict(enumerate(one)), dict(enumerate(other)))
    ends = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert found.interval == pytest.approx((ends.low, ends.high))


def test_other_seeds_are_welchs() -> None:
    generator = np.random.default_rng(1)
    one, other = generator.normal(5, 1, size=4), generator.normal(3, 4, size=6)
    found = difference(dict(enumerate(one)), {f"seed {k}": v for k, v in enumerate(other)})
    ends = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert not found.paired
    assert found.counts == (4, 6)
    assert found.interval == pytest.approx((ends.low, ends.high))


def test_pairing_matters() -> None:
    """Seeds that move both sides alike: only the pairs show the difference."""
    alone = {0: 90.0, 1: 94.0, 2: 98.0}
    taught = {0: 91.0, 1: 95.1, 2: 98.9}
    assert difference(taught, alone).clear
    assert not difference({k + 9: v for k, v in taught.items()}, alone).clear


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({0: 97.0}, {0: 95.0}),
        ({0: 97.0, 1: 98.0}, {0: 95.0}),
        ({0: 97.1, 1: 98.1}, {0: 95.1, 1: 96.1}),  # equal up to rounding
        ({0: 97.0, 1: 97.0}, {5: 95.0, 6: 95.0}),
    ],
)
def test_no_interval(one: dict[object, float], other: dict[object, float]) -> None:
    found = difference(one, other)
    assert found.interval is None
    assert not found.clear
