"""FSP, flow of the solution procedure (Yim et al., CVPR 2017: A Gift from KD)."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from relatum.divergences import squared
from relatum.losses.connect import Maps, paired, pooled, same_channels
from relatum.precision import exact
from relatum.types import Fault, FeatureMap, Scalar


class FSP(nn.Module):
    r"""Match how each layer's channels go with the next layer's.

    .. math::
        \mathcal L_{FSP} = \sum_l \overline{\big( G_S^l - G_T^l \big)^2}, \qquad
        G^l = \frac{1}{HW} M^l (M^{l+1})^\top

    over consecutive layers, the larger map average-pooled to the smaller; the mean over
    samples and pairs of channels (equations 1 and 2 of the paper, which sums over the pairs).
    It relates channels, not samples. Both networks need the same channels, layer by layer; the
    sizes of their maps may differ.

    Equal to RepDistiller's code, whose broadcast over B x C x C' x HW is a matrix product here.

    Raises:
        Fault: in ``forward``: there are fewer than two layers, or the networks differ in
            layers, channels (the first such layer is named) or samples.

    Example:
        >>> students = torch.randn(4, 8, 16, 16), torch.randn(4, 16, 8, 8)
        >>> teachers = torch.randn(4, 8, 32, 32), torch.randn(4, 16, 8, 8)
        >>> bool(FSP()(students, teachers) > 0), FSP()(teachers, teachers)
        (True, tensor(0.))
    """

    @exact
    def forward(self, student: tuple[FeatureMap, ...], teacher: tuple[FeatureMap, ...]) -> Scalar:
        """Tuples of maps (B, C, H, W) of both networks, shallow to deep, to a scalar."""
        students, teachers = consecutive("FSP", student, teacher)
        flows = zip(pairwise(students), pairwise(teachers), strict=True)
        return torch.stack([squared(flow(*each), flow(*other)) for each, other in flows]).sum()


def consecutive(
    name: str, student: Maps, teacher: Maps
) -> tuple[tuple[FeatureMap, ...], tuple[FeatureMap, ...]]:
    """Both networks' maps, for a loss that compares what happens between layers.

    Raises:
        Fault: there are fewer than two, or they do not go together.
    """
    pairs = paired(name, student, teacher)
    if len(pairs) < 2:
        raise Fault(f"{name} compares consecutive layers: it takes at least two, got {len(pairs)}")
    same_channels(name, pairs)
    students, teachers = zip(*pairs, strict=True)
    return students, teachers


def flow(below: FeatureMap, above: FeatureMap) -> Float[Tensor, "batch below above"]:
    """The mean over pixels of every channel of one map times every channel of the other."""
    below, above = pooled(below, above)
    return below.flatten(2) @ above.flatten(2).mT / below[0, 0].numel()
