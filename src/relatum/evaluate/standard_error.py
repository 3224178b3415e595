"""How far a share of some images may lie from that of all there could be."""

import math


def standard_error(share: float, count: int) -> float:
    r"""The standard error of a share of so many images.

    .. math:: \sqrt{\tilde p\, (1 - \tilde p) / n}, \qquad \tilde p = \frac{n p + 1}{n + 2}

    Each outcome is counted once more than it came, as Agresti and Coull ("Approximate is better
    than exact", 1998) do with two: else one image, or none that is wrong, would have no error.

    Args:
        share: of them, from 0 to 1.
        count: how many images.

    Example:
        >>> round(standard_error(0.5, 18), 3), round(standard_error(1.0, 1), 2)
        (0.118, 0.47)
    """
    likely = (share * count + 1) / (count + 2)
    return math.sqrt(likely * (1 - likely) / count)
