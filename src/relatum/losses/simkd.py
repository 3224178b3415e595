"""SimKD, the reused teacher classifier (Chen et al., CVPR 2022, arXiv 2203.14001)."""

from torch import nn

from relatum.divergences import squared
from relatum.losses.connect import paired, pooled
from relatum.precision import exact
from relatum.types import FeatureMap, Scalar


class SimKD(nn.Module):
    r"""Match the teacher's last feature map, so that the teacher's classifier can read it.

    .. math:: \mathcal L = \frac{1}{BCHW} \| P(F_S) - F_T \|_2^2

    The projector P is no part of this loss: it belongs to the student,
    which keeps it, together with the teacher's classifier, when it is deployed
    (``relatum.models.simkd.SimKDStudent``). So ``student`` is the projected map already, and has
    the teacher's channels. The larger of the two maps is average-pooled to the smaller.

    Differs from the authors' code (DefangChen/SimKD) in nothing but maps that are not square:
    theirs looks at the height alone.

    Example:
        >>> import torch
        >>> maps = torch.randn(8, 64, 4, 4)
        >>> SimKD()(maps, maps)
        tensor(0.)
    """

    @exact
    def forward(self, student: FeatureMap, teacher: FeatureMap) -> Scalar:
        """Maps (B, channels, height, width) of equal channels to a scalar.

        Raises:
            Fault: the maps differ in samples or channels.
        """
        ((student, teacher),) = paired("SimKD", student, teacher)
        return squared(*pooled(student, teacher))
