"""AT, attention transfer (Zagoruyko & Komodakis, ICLR 2017, arXiv 1612.03928)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from relatum import relations
from relatum.divergences import squared, squares
from relatum.losses.connect import Maps, paired, pooled
from relatum.precision import exact
from relatum.types import Fault, FeatureMap, Scalar


class AT(nn.Module):
    r"""Match where in an image each network is active.

    .. math::
        \mathcal L_{AT} = \sum_l \overline{\big( a(M_S^l) - a(M_T^l) \big)^2}, \qquad
        a(M) = \frac{q}{\|q\|_2}, \quad q_x = \frac1C \sum_c |M_{cx}|^p

    the sum over stages, the mean over samples and pixels (equation 2 of the paper and
    :math:`F_{sum}^p` of its section 3.1, whose factor the unit length cancels). Channels may
    differ; the larger map is average-pooled to the smaller. Unit vectors differ by no more when
    they are longer, so at equal weight a stage counts in inverse proportion to its pixels: the
    benchmark's weight 1000 is made for stages of 32, 16 and 8 pixels a side.

    Equal to RepDistiller's and the authors' code at p = 2. Differs from RepDistiller's at odd p,
    where that leaves out the absolute value, and for a map that is all zero, which sends no
    gradient here.

    Args:
        power: p; 2 as in the paper and in the benchmark.

    Raises:
        Fault: p is below one; in ``forward``, the networks differ in stages or samples.

    Example:
        >>> student, teacher = torch.randn(4, 8, 16, 16), torch.randn(4, 32, 8, 8)
        >>> bool(AT()(student, teacher) > 0), AT()(teacher, teacher)
        (True, tensor(0.))
    """

    def __init__(self, power: float = 2) -> None:
        super().__init__()
        if not power >= 1:
            raise Fault(f"AT: power is at least one, got {power}")
        self.power = power

    def extra_repr(self) -> str:
        """Its setting."""
        return f"power={self.power}"

    def forward(self, student: Maps, teacher: Maps) -> Scalar:
        """Maps (B, C, H, W) of both networks, or a tuple of them for stages, to a scalar."""
        losses = [
            squared(*(attention(maps, self.power) for maps in pooled(*pair)))
            for pair in paired("AT", student, teacher)
        ]
        return torch.stack(losses).sum()


def attention(maps: FeatureMap, power: float = 2) -> Float[Tensor, "batch pixels"]:
    r"""The mean over channels of :math:`|M|^p`, over pixels of unit length; zero for none."""
    if power == 2:
        return relations.unit((squares(maps, (1,)) / maps.shape[1]).flatten(1))
    return relations.unit(_powers(maps, power).flatten(1))


@exact
def _powers(maps: FeatureMap, power: float) -> Tensor:
    return maps.abs().pow(power).mean(1)
