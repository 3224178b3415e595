import math
from collections.abc import Sequence
from statistics import stdev

import numpy as np
import pytest
from scipy import stats

from relatum.report.comparisons import Pooled, dunnett, pool, ranks, smallest, uneven

# C. W. Dunnett, "New tables for multiple comparisons with a control", Biometrics 20 (1964): two
# sides, 5 %, as many in every group, one to nine methods.
TABLE = {
    5: (2.57, 3.03, 3.29, 3.48, 3.62, 3.73, 3.82, 3.90, 3.97),
    10: (2.23, 2.57, 2.76, 2.89, 2.99, 3.07, 3.14, 3.19, 3.24),
    20: (2.09, 2.38, 2.54, 2.65, 2.73, 2.80, 2.86, 2.90, 2.95),
    120: (1.98, 2.24, 2.38, 2.47, 2.55, 2.60, 2.65, 2.69, 2.73),
}


def drawn(seed: int, *sizes: int, step: float = 0.3) -> dict[str, list[float]]:
    generator = np.random.default_rng(seed)
    return {
        f"m{place}": generator.normal(70 + step * place, 0.3, size).tolist()
        for place, size in enumerate(sizes)
    }


def pooled(groups: dict[str, list[float]]) -> Pooled:
    found = pool(groups)
    assert found is not None
    return found


def test_pooled_by_hand() -> None:
    found = pooled({"a": [1.0, 3.0], "b": [4.0, 6.0, 8.0], "c": [5.0]})
    assert found.freedom == 3
    assert found.std == pytest.approx(math.sqrt((2 + 8) / 3))
    assert list(found.groups) == ["a", "b"], "one number has no spread"
    assert found.error("a", "b") == pytest.approx(found.std * math.sqrt(1 / 2 + 1 / 3))


@pytest.mark.parametrize(
    "groups",
    [
        {},
        {"a": [1.0], "b": [2.0]},
        {"a": [1.0, 1.0], "b": [2.0, 2.0]},
        {"a": [70.1 + 0.2, 70.3], "b": [0.1 + 0.2, 0.3]},  # equal up to rounding
    ],
)
def test_no_spread_is_no_ground(groups: dict[str, list[float]]) -> None:
    assert pool(groups) is None


@pytest.mark.parametrize("freedom", TABLE)
def test_critical_values_are_those_of_dunnetts_table(freedom: int) -> None:
    for count, expected in enumerate(TABLE[freedom], 1):
        assert critical(count, freedom) == pytest.approx(expected, abs=0.0051)


def critical(count: int, freedom: int) -> float:
    """Half an interval in standard errors, where groups are of two and one is larger."""
    groups = {f"m{place}": (0.0, 0.0) for place in range(count + 1)}
    found = dunnett(Pooled(groups, 1.0, freedom), "m0")["m1"]
    assert found.high is not None
    return found.high  # standard error: √(1/2 + 1/2) = 1


@pytest.mark.parametrize("sizes", [(3, 3, 3), (5, 2, 3, 4, 5), (3,) * 12])
def test_dunnett_is_scipys(sizes: Sequence[int]) -> None:
    """To the digits that SciPy's draws leave: its interval is sought to 1 %."""
    groups = drawn(len(sizes), *sizes)
    found = dunnett(pooled(groups), "m0")
    others = [values for label, values in groups.items() if label != "m0"]
    generator = np.random.default_rng(0)
    try:
        expected = stats.dunnett(*others, control=groups["m0"], rng=generator)
    except TypeError:  # before SciPy 1.15
        expected = stats.dunnett(*others, control=groups["m0"], random_state=generator)
    ends = expected.confidence_interval(0.95)
    assert [each.p for each in found.values()] == pytest.approx(expected.pvalue, abs=5e-4)
    assert [each.low for each in found.values()] == pytest.approx(ends.low, rel=0.02, abs=0.01)
    assert [each.high for each in found.values()] == pytest.approx(ends.high, rel=0.02, abs=0.01)


def test_one_method_is_the_t_test() -> None:
    groups = drawn(3, 4, 5)
    found = dunnett(pooled(groups), "m0")["m1"]
    expected = stats.ttest_ind(groups["m1"], groups["m0"])
    ends = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-6)
    assert found.interval == pytest.approx((ends.low, ends.high), abs=1e-5)
    assert found.counts == (5, 4)
    assert not found.paired


def test_intervals_and_p_agree() -> None:
    """An interval without zero, and a p under 5 %, are one statement."""
    for seed in range(20):
        for each in dunnett(pooled(drawn(seed, 3, 3, 3, 2, 4, step=0.4)), "m0").values():
            assert each.p is not None
            assert each.clear == (each.p < 0.05)


def test_more_methods_need_more() -> None:
    """The same two groups beside others of their spread: the interval widens."""
    groups = drawn(0, 3, 3, 3, 3, 3, 3)
    few = Pooled({label: tuple(groups[label]) for label in ("m0", "m1")}, 0.3, 12)
    many = Pooled({label: tuple(values) for label, values in groups.items()}, 0.3, 12)
    one, other = dunnett(few, "m0")["m1"], dunnett(many, "m0")["m1"]
    assert one.low is not None
    assert other.low is not None
    assert one.mean == other.mean
    assert one.low > other.low


def test_the_level_holds() -> None:
    """Nothing differs: in 5 % of tables, one comparison or more says it does."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(20_000, 4, 3))
    means, stds = values.mean(2), np.sqrt(values.var(2, ddof=1).mean(1))
    largest = np.abs(means[:, 1:] - means[:, :1]).max(1) / (stds * math.sqrt(2 / 3))
    assert float((largest > critical(3, 8)).mean()) == pytest.approx(0.05, abs=0.006)


def test_no_baseline_no_comparison() -> None:
    found = pooled({"a": [1.0, 2.0], "b": [1.0, 3.0]})
    assert dunnett(found, "none") == {}
    assert smallest(found, "none") is None
    assert smallest(pooled({"none": [1.0, 2.0]}), "none") is None


@pytest.mark.parametrize("seed", range(6))
def test_ranks_are_those_of_tukeys_test(seed: int) -> None:
    groups = drawn(seed, 3, 3, 4, 2, 5)
    found = ranks(pooled(groups))
    chances = stats.tukey_hsd(*groups.values()).pvalue
    means = [float(np.mean(values)) for values in groups.values()]
    for one, label in enumerate(groups):
        better = [
            other
            for other in range(len(groups))
            if chances[one, other] < 0.05 and means[other] > means[one]
        ]
        assert found[label] == 1 + len(better)


def test_ranks_where_less_is_better() -> None:
    groups = {"a": [1.0, 1.1], "b": [9.0, 9.1], "c": [9.05, 9.15]}
    assert ranks(pooled(groups), higher=False) == {"a": 1, "b": 2, "c": 2}
    assert ranks(pooled(groups)) == {"a": 3, "b": 1, "c": 1}


def test_a_lone_group_is_first() -> None:
    assert ranks(pooled({"a": [1.0, 2.0]})) == {"a": 1}


def test_what_cannot_be_told_apart_need_not_be_alike() -> None:
    """A = B and B = C, but A > C: ranks 1, 1, 2, as documented."""
    groups = {"a": [3.0, 3.2, 3.4], "b": [2.55, 2.75, 2.95], "c": [2.1, 2.3, 2.5]}
    assert ranks(pooled(groups)) == {"a": 1, "b": 1, "c": 2}


def test_the_smallest_difference_is_shown_four_times_of_five() -> None:
    groups = {f"m{place}": [1.0, 2.0, 3.0] for place in range(4)}
    shift = smallest(pooled(groups), "m0")
    assert shift is not None
    generator = np.random.default_rng(1)
    values = generator.normal(size=(20_000, 4, 3))
    values[:, 1] += shift
    stds = np.sqrt(values.var(2, ddof=1).mean(1))
    found = (values[:, 1].mean(1) - values[:, 0].mean(1)) / (stds * math.sqrt(2 / 3))
    assert float((found > critical(3, 8)).mean()) == pytest.approx(0.8, abs=0.01)


def test_the_smallest_difference_is_of_the_fewest_seeds() -> None:
    even = pooled({"none": [1.0, 2.0, 3.0], "a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0]})
    odd = Pooled({**even.groups, "b": (1.0, 3.0)}, even.std, even.freedom)
    one, other = smallest(even, "none"), smallest(odd, "none")
    assert one is not None
    assert other is not None
    assert other > one


def test_one_degree_of_freedom_is_enough_to_count() -> None:
    """Far out in the tails, where a series would not converge."""
    found = smallest(Pooled({"a": (1.0, 2.0), "b": (1.0, 1.0)}, 0.7, 1), "a")
    assert found is not None
    assert 10 < found / 0.7 < 30


def test_a_method_that_fell_apart_is_named() -> None:
    groups = drawn(0, *(3,) * 6)
    assert uneven(pooled(groups)) is None
    groups["m3"] = [70.0, 70.2, 61.0]
    assert uneven(pooled(groups)) == "m3"
    assert uneven(pooled({"a": [1.0, 9.0]})) is None


def test_equal_spreads_are_seldom_called_uneven() -> None:
    generator = np.random.default_rng(2)
    tables = generator.normal(size=(1500, 8, 3))
    called = sum(uneven(pooled(_labelled(table))) is not None for table in tables)
    assert called / 1500 == pytest.approx(0.01, abs=0.008)


def _labelled(table: "np.ndarray[tuple[int, int], np.dtype[np.float64]]") -> dict[str, list[float]]:
    return {f"m{place}": row.tolist() for place, row in enumerate(table)}


def test_pooling_takes_the_mean_of_equal_spreads() -> None:
    groups = drawn(4, 3, 3, 3)
    squares = [stdev(values) ** 2 for values in groups.values()]
    assert pooled(groups).std == pytest.approx(math.sqrt(sum(squares) / 3))
