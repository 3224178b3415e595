"""Cosines of many samples to many others, some at a time.

Shape legend: Q = queries of a block, N = samples that are ranked, D = dimension.
"""

from collections.abc import Iterator

from torch import Tensor

from relatum import relations
from relatum.precision import exact
from relatum.types import Fault, FeatureMap

BLOCK = 2**22
"""Similarities of a block: 16 MB, and some 150 MB with what is made of them."""


def unit_rows(features: FeatureMap, whose: str) -> Tensor:
    """Samples as vectors of length one, in float32 or better.

    Raises:
        Fault: there are none, or they are not finite.
    """
    rows = features.detach().flatten(1)
    if not len(rows):
        raise Fault(f"wanted {whose} of one sample at least, came none")
    rows = relations.unit(rows)
    if not bool(rows.isfinite().all()):
        raise Fault(f"{whose} hold NaN or infinity; did the training diverge?")
    return rows.float()


def blocks(queries: int, ranked: int) -> Iterator[slice]:
    """Queries, as many at a time as memory likes."""
    size = max(BLOCK // max(ranked, 1), 1)
    return (slice(first, min(first + size, queries)) for first in range(0, queries, size))


@exact
def similarities(query_QD: Tensor, ranked_ND: Tensor) -> Tensor:
    """Cosines, of rows of length one, in float32."""
    return query_QD @ ranked_ND.T
