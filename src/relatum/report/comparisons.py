r"""Many methods compared at once: against a baseline (Dunnett) and with each other (Tukey).

Both tests take the spread of all groups for one, :math:`s^2 = \sum (n_i-1) s_i^2 / \nu` with
:math:`\nu = \sum (n_i-1)` degrees of freedom, and both hold their level, 5 %, for all comparisons
of a family together. They take runs for independent: that methods share seeds, and with them
initialisation and order, is not used. Where a seed moves all methods alike, that makes them
more careful than they need be.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, variance

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import fdtri, ndtr
from scipy.stats import chi, studentized_range

from relatum.report.spread import LEVEL, Difference

POWER = 0.8
"""How often a true difference of the smallest size is shown."""
UNEVEN = 0.01
"""How seldom chance alone makes one spread of several equal ones stand out so far."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """Several groups of numbers, whose spread is taken for one.

    Attributes:
        groups: two numbers or more each, by label.
        std: their common standard deviation.
        freedom: its degrees of freedom.
    """

    groups: Mapping[str, tuple[float, ...]]
    std: float
    freedom: int

    def error(self, one: str, other: str) -> float:
        """The standard error of the difference of two groups' means."""
        return self.std * math.sqrt(1 / len(self.groups[one]) + 1 / len(self.groups[other]))

    def between(self, one: str, other: str) -> float:
        """The mean of one group less that of another."""
        return fmean(self.groups[one]) - fmean(self.groups[other])


def pool(groups: Mapping[str, Sequence[float]]) -> Pooled | None:
    """Groups of two numbers or more with their common spread; ``None`` where there is no spread.

    Example:
        >>> found = pool({"none": [1.0, 3.0], "kd": [4.0, 6.0, 8.0], "sp": [5.0]})
        >>> found.freedom, round(found.std, 3), list(found.groups)
        (3, 1.826, ['none', 'kd'])
    """
    kept = {label: tuple(values) for label, values in groups.items() if len(values) > 1}
    freedom = sum(len(values) - 1 for values in kept.values())
    squares = sum((len(values) - 1) * variance(values) for values in kept.values())
    largest = max((abs(value) for values in kept.values() for value in values), default=0.0)
    if not freedom or math.sqrt(squares) <= 1e-9 * max(1.0, largest):  # rounding is no spread
        return None
    return Pooled(kept, math.sqrt(squares / freedom), freedom)


def dunnett(pooled: Pooled, baseline: str) -> dict[str, Difference]:
    r"""Every group less the baseline, by Dunnett's two-sided test (1955).

    With :math:`t_i = (\bar x_i - \bar x_0) / (s \sqrt{1/n_i + 1/n_0})`, the p-value of a group
    is how often the largest of all :math:`|t|` would reach its own if no group differed from
    the baseline; the intervals hold all true differences together 95 times of 100.

    This is ``scipy.stats.dunnett``, but for the integral: SciPy draws at random, so that a table
    made twice differs from itself, its intervals are off by a per cent, and thirty methods take
    seconds. Here it is a quadrature, exact to four digits and more.

    Args:
        pooled: the groups.
        baseline: which of them the others are compared with.

    Returns:
        A difference for each other group; nothing where the baseline is not among them.

    Example:
        >>> found = dunnett(pool({"none": [1.0, 2.0, 3.0], "kd": [4.0, 5.0, 6.0]}), "none")
        >>> found["kd"].mean, round(found["kd"].p, 3), round(found["kd"].low, 3)
        (3.0, 0.021, 0.733)
    """
    others = [label for label in pooled.groups if label != baseline]
    if baseline not in pooled.groups or not others:
        return {}
    shares = _shares(pooled, baseline)
    critical = _critical(shares, pooled.freedom)
    first, found = len(pooled.groups[baseline]), dict[str, Difference]()
    for label in others:
        mean, error = pooled.between(label, baseline), pooled.error(label, baseline)
        half = critical * error
        found[label] = Difference(
            mean=mean,
            low=mean - half,
            high=mean + half,
            counts=(len(pooled.groups[label]), first),
            paired=False,
            p=max(0.0, 1 - _within(abs(mean) / error, shares, pooled.freedom)),
        )
    return found


def ranks(pooled: Pooled, *, higher: bool = True) -> dict[str, int]:
    """The rank of every group: 1 + how many are better by Tukey's test (Tukey and Kramer).

    Groups that cannot be told from the best share rank 1, and so on. Two groups differ where
    their means are further apart than ``q · s · √((1/n + 1/m) / 2)``, with ``q`` from the
    studentized range: what ``scipy.stats.tukey_hsd`` calls a p-value under 5 %. Being told
    apart is no order: B may share its rank with both A and C while A is better than C.

    Args:
        pooled: the groups.
        higher: whether more is better.

    Example:
        >>> ranks(pool({"a": [9.0, 9.1, 9.2], "b": [9.1, 9.2, 9.3], "c": [5.0, 5.1, 5.2]}))
        {'a': 1, 'b': 1, 'c': 3}
    """
    labels = list(pooled.groups)
    if len(labels) < 2:
        return dict.fromkeys(labels, 1)
    apart = _range(len(labels), pooled.freedom) / math.sqrt(2)
    sign = 1 if higher else -1
    return {
        one: 1
        + sum(
            sign * pooled.between(other, one) > apart * pooled.error(other, one)
            for other in labels
            if other != one
        )
        for one in labels
    }


def smallest(pooled: Pooled, baseline: str) -> float | None:
    """The smallest true difference to the baseline that Dunnett's test shows 4 times of 5.

    That is for one method by itself, of the fewest seeds that any has, with the spread that was
    found: by the non-central t distribution beyond Dunnett's critical value, in the direction of
    the difference. ``None`` where the baseline is not among the groups, or alone.

    Example:
        >>> round(smallest(pool({"none": [1.0, 2.0, 3.0], "kd": [4.0, 5.0, 6.0]}), "none"), 2)
        3.07
    """
    others = [label for label in pooled.groups if label != baseline]
    if baseline not in pooled.groups or not others:
        return None
    critical = _critical(_shares(pooled, baseline), pooled.freedom)

    spreads, densities = _spreads(pooled.freedom)
    beyond = critical * spreads

    def lacking(shift: float) -> float:
        return POWER - float(densities @ ndtr(shift - beyond))

    shift = float(brentq(lacking, 0.0, 20 * critical))
    return shift * max(pooled.error(label, baseline) for label in others)


def uneven(pooled: Pooled) -> str | None:
    """The group whose spread stands out beyond chance, by Cochran's test (1941) at 1 %.

    One method that fell apart on one seed makes the common spread large, and hides differences
    between all others. Where groups are of several sizes, the test takes their mean size.
    """
    count, size = len(pooled.groups), pooled.freedom / len(pooled.groups)
    if count < 2:
        return None
    spreads = {label: variance(values) for label, values in pooled.groups.items()}
    largest = max(spreads, key=lambda label: spreads[label])
    share = spreads[largest] / sum(spreads.values())
    fisher = float(fdtri(size, (count - 1) * size, 1 - UNEVEN / count))
    return largest if share > 1 / (1 + (count - 1) / fisher) else None


def _shares(pooled: Pooled, baseline: str) -> tuple[float, ...]:
    """Of every comparison's error, the part that it shares with the others: the baseline's."""
    first = len(pooled.groups[baseline])
    return tuple(
        len(values) / (len(values) + first)
        for label, values in pooled.groups.items()
        if label != baseline
    )


@lru_cache(maxsize=256)
def _critical(shares: tuple[float, ...], freedom: int) -> float:
    """What the largest |t| stays under 95 times of 100."""
    high = 2.0
    while _within(high, shares, freedom) < LEVEL:
        high *= 2
    return float(brentq(lambda t: _within(t, shares, freedom) - LEVEL, 0.0, high, xtol=1e-7))


def _within(t: float, shares: tuple[float, ...], freedom: int) -> float:
    """How often all |t| stay under one bound, if nothing differs from the baseline.

    Given the baseline's mean (z) and the spread (s) the comparisons are independent, so that
    the probability is their product, averaged over both.
    """
    deviates, weights = _deviates()
    spreads, densities = _spreads(freedom)
    several, counts = np.unique(shares, return_counts=True)  # mostly one: as many seeds for all
    alike = np.sqrt(several)
    own = np.sqrt(1 - alike**2)
    bound = t * spreads[:, None, None]
    shift = alike * deviates[None, :, None]
    inside = ndtr((bound - shift) / own) - ndtr((-bound - shift) / own)
    return float(densities @ (inside**counts).prod(axis=-1) @ weights)


@lru_cache(maxsize=1)
def _deviates() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of the standard normal distribution."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    return nodes, weights / weights.sum()


@lru_cache(maxsize=256)
def _spreads(freedom: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of how far an estimated spread lies from the true one."""
    nodes, weights = np.polynomial.legendre.leggauss(64)
    low, high = chi.ppf(1e-13, freedom), chi.isf(1e-13, freedom)
    places = low + (high - low) * (nodes + 1) / 2
    densities = weights * chi.pdf(places, freedom)
    return places / math.sqrt(freedom), densities / densities.sum()


@lru_cache(maxsize=256)
def _range(count: int, freedom: int) -> float:
    """The studentized range's 95 % point."""
    return float(studentized_range.ppf(LEVEL, count, freedom))
