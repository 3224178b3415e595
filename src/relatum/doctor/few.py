"""Whether so many images can show a share of them, or a difference between two."""

import math

from relatum.evaluate.standard_error import standard_error

ERRORS = 3.0
"""Standard errors from which on something is taken for shown."""


def guesses(right: float, chance: float, count: int) -> bool | None:
    """Whether a network that is right so often only guesses; ``None`` where it cannot be told.

    It does not where it is right more often than chance by three standard errors. It does where
    it is below the middle between chance and all by as much: whoever has learnt the classes is
    above that, or near it.

    Args:
        right: the share of the images that it is right about.
        chance: what always naming the most frequent class reaches.
        count: how many images.

    Example:
        >>> guesses(0.9, 0.1, 500), guesses(0.1, 0.1, 500), guesses(0.6, 0.5, 18)
        (False, True, None)
    """
    if right > chance + ERRORS * standard_error(chance, count):
        return False
    middle = (1 + chance) / 2
    return True if right < middle - ERRORS * standard_error(middle, count) else None


def differs(gained: int, lost: int) -> bool:
    """Whether one way is right more often than another on the same images, as far as is shown.

    By McNemar's test: images about which both are right, or wrong, say nothing.

    Args:
        gained: images about which it alone is right.
        lost: images about which the other alone is.

    Example:
        >>> differs(3, 1), differs(60, 20)
        (False, True)
    """
    return gained - lost > ERRORS * math.sqrt(gained + lost)
