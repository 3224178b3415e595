"""NST, neuron selectivity transfer (Huang & Wang, arXiv 1707.01219)."""

import torch
from torch import Tensor, nn

from relatum import relations
from relatum.losses.connect import Maps, paired, pooled
from relatum.precision import exact
from relatum.types import Scalar


class NST(nn.Module):
    r"""Match the distribution of where channels are active, by its polynomial kernel.

    .. math::
        \mathcal L_{NST} = \sum_l \overline{\langle \hat t_c, \hat t_{c'} \rangle^2}
        + \overline{\langle \hat s_d, \hat s_{d'} \rangle^2}
        - 2 \, \overline{\langle \hat s_d, \hat t_c \rangle^2}

    the squared maximum mean discrepancy of the channels' maps, each over its pixels of unit
    length: means over samples and pairs of channels, the sum over stages (the paper's
    polynomial kernel of degree 2 without a constant). The larger map is average-pooled to the
    smaller. With P the mean of :math:`\hat x_c \hat x_c^\top` over channels this is
    :math:`\|P_S - P_T\|_F^2`, and whichever of the two forms is smaller is computed.

    Equal to RepDistiller's code, whose broadcast over B x C x C' x HW this avoids; differs for
    a channel that is all zero, which sends no gradient here.

    Example:
        >>> student, teacher = torch.randn(4, 8, 16, 16), torch.randn(4, 32, 8, 8)
        >>> bool(NST()(student, teacher) > 0)
        True
    """

    @exact
    def forward(self, student: Maps, teacher: Maps) -> Scalar:
        """Maps (B, C, H, W) of both networks, or a tuple of them for stages, to a scalar."""
        losses = [
            discrepancy(*(relations.unit(maps.flatten(2)) for maps in pooled(*pair)))
            for pair in paired("NST", student, teacher)
        ]
        return torch.stack(losses).sum()


def discrepancy(student_BCP: Tensor, teacher_BCP: Tensor) -> Scalar:
    """The mean over samples of the squared discrepancy between two sets of unit vectors."""
    (_, students, pixels), teachers = student_BCP.shape, teacher_BCP.shape[1]
    if pixels * pixels <= students * teachers:
        apart_BPP = (
            student_BCP.mT @ student_BCP / students - teacher_BCP.mT @ teacher_BCP / teachers
        )
        return apart_BPP.square().sum((1, 2)).mean()
    own, other = _kernel(student_BCP, student_BCP), _kernel(teacher_BCP, teacher_BCP)
    return own + other - 2 * _kernel(student_BCP, teacher_BCP)


def _kernel(one_BCP: Tensor, other_BCP: Tensor) -> Scalar:
    return (one_BCP @ other_BCP.mT).square().mean()
