"""Callables of the progress of training, which runs from 0 to 1, to a multiplier.

Any function of one float will do where these are taken: ``lambda progress: 1 - progress``.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

from relatum.faults import Fault

Schedule = Callable[[float], float]


def constant() -> Schedule:
    """One, always."""
    return lambda progress: 1.0


def steps(at: Sequence[float], factor: float = 0.1) -> Schedule:
    """Times ``factor`` from each of these progresses on.

    Example:
        >>> schedule = steps(at=(150 / 240, 180 / 240))
        >>> schedule(149 / 240), schedule(150 / 240)
        (1.0, 0.1)
    """
    at = sorted(at)
    if at and not 0 <= at[0] <= at[-1] <= 1:
        raise Fault(f"steps happen at progresses between 0 and 1, got {at}")
    return lambda progress: factor ** bisect_right(at, progress)


def cosine(end: float = 0.0) -> Schedule:
    """Half a cosine from 1 down to ``end``."""
    return lambda progress: end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2


def warmup(until: float, then: Schedule) -> Schedule:
    """A straight line from 0 until this progress, then another schedule over the rest."""
    if not 0 < until < 1:
        raise Fault(f"a warm-up ends at a progress between 0 and 1, got {until}")
    return lambda progress: (
        progress / until if progress < until else then((progress - until) / (1 - until))
    )


def weighed(usual: float | Schedule, weight: float) -> float | Schedule:
    """The weight asked for; where the usual one changes, as a warm-up does, it ends there.

    Raises:
        Fault: the usual one ends at 0.
    """
    if not callable(usual):
        return weight
    end = usual(1.0)
    if end == 0:
        raise Fault(f"a weight that changes cannot end at {weight:g}: as it is, it ends at 0")
    return lambda progress: weight * usual(progress) / end
