"""What several seeds say together: a mean with its spread, and a difference with its interval."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from scipy.special import stdtrit

LEVEL = 0.95
"""How often such an interval holds the true mean difference, were the seeds drawn anew."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Numbers of several seeds.

    Attributes:
        mean: their mean.
        std: their sample standard deviation (n - 1), or ``None`` for a single one.
        values: the numbers themselves.
    """

    mean: float
    std: float | None
    values: tuple[float, ...]

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.values)

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Mean and standard deviation of one number or more.

        Example:
            >>> Spread.of([1.0, 2.0, 3.0]).std
            1.0
        """
        std = stdev(values) if len(values) > 1 else None
        return cls(fmean(values), std, tuple(values))


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one mean lies above another.

    Attributes:
        mean: the difference of the two means.
        low: the lower end of its 95 % interval, or ``None`` where the seeds allow none.
        high: the upper end.
        counts: how many seeds each side has.
        paired: whether the two sides were compared seed by seed.
        p: where many were compared at once, how often chance alone would show one as large;
            the interval is then theirs together, see ``relatum.report.comparisons``.
    """

    mean: float
    low: float | None
    high: float | None
    counts: tuple[int, int]
    paired: bool
    p: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends, or ``None``."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def still(self) -> bool:
        """Whether there are seeds enough, and no interval as they show no spread."""
        return self.interval is None and min(self.counts) > 1

    @property
    def clear(self) -> bool:
        """Whether there is an interval, and zero lies outside it."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def difference(one: Mapping[Any, float], other: Mapping[Any, float]) -> Difference:
    r"""The mean of one side less that of the other, with Student's 95 % interval.

    Where both sides have the same seeds, the interval is that of the paired differences
    :math:`d_i`: :math:`\bar d \pm t_{n-1} s_d / \sqrt n`. Otherwise it is Welch's (1947):
    :math:`\pm t_\nu \sqrt{s_1^2/n_1 + s_2^2/n_2}` with the degrees of freedom :math:`\nu` of
    Welch and Satterthwaite. It is left out with a single seed on either side, and where the
    seeds do not differ at all: no spread seen is not no spread.

    Args:
        one: a number for each seed.
        other: a number for each seed of what it is compared with.

    Example:
        >>> found = difference({0: 3.0, 1: 4.0, 2: 5.0}, {0: 2.0, 1: 2.0, 2: 2.0})
        >>> found.mean, found.paired, round(found.low, 3), round(found.high, 3)
        (2.0, True, -0.484, 4.484)
    """
    counts = len(one), len(other)
    mean = fmean(one.values()) - fmean(other.values())
    paired = one.keys() == other.keys()
    if min(counts) < 2:
        return Difference(mean, None, None, counts, paired)
    if paired:
        error = stdev([one[seed] - other[seed] for seed in one]) / math.sqrt(counts[0])
        freedom = counts[0] - 1.0
    else:
        error, freedom = _welch(list(one.values()), list(other.values()))
    if error <= 1e-9 * max(1.0, abs(mean)):  # rounding alone makes equal differences unequal
        return Difference(mean, None, None, counts, paired)
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    return Difference(mean, mean - half, mean + half, counts, paired)


def _welch(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """The standard error of the difference of two means, and its degrees of freedom."""
    parts = [stdev(values) ** 2 / len(values) for values in (one, other)]
    total = sum(parts)
    if total == 0:
        return 0.0, 1.0
    sizes = (len(one), len(other))
    below = sum(part**2 / (n - 1) for part, n in zip(parts, sizes, strict=True))
    return math.sqrt(total), total**2 / below
