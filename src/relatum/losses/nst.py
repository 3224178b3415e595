"""NST, neuron selectivity transfer (Huang & Wang, arXiv 1707.01219)."""

import torch
from torch import Tensor, nn

from relatum.divergences import squares
from relatum.losses.connect import Maps, paired, pooled
from relatum.precision import exact
from relatum.relations import own_products, unit
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
            discrepancy(*(maps.flatten(2) for maps in pooled(*pair)))
            for pair in paired("NST", student, teacher)
        ]
        return torch.stack(losses).sum()


def discrepancy(student_BCP: Tensor, teacher_BCP: Tensor) -> Scalar:
    """The mean over samples of the squared discrepancy between the directions of two sets."""
    (batch, students, pixels), teachers = student_BCP.shape, teacher_BCP.shape[1]
    if pixels * pixels <= students * teachers:
        own_BPP, other_BPP = (_spread(each) for each in (student_BCP, teacher_BCP))
        return squares(own_BPP / students - other_BPP / teachers) / batch
    # the products are scaled, and not the vectors, which are longer
    own_BCC, other_BCC = own_products(student_BCP), own_products(teacher_BCP)
    scale_BC1, other_scale_BC1 = _scale(own_BCC), _scale(other_BCC)
    cross_BCC = (student_BCP @ teacher_BCP.mT) * scale_BC1 * other_scale_BC1.mT
    own_BCC = own_BCC * scale_BC1 * scale_BC1.mT
    other_BCC = other_BCC * other_scale_BC1 * other_scale_BC1.mT
    return _kernel(own_BCC) + _kernel(other_BCC) - 2 * _kernel(cross_BCC)


def _spread(vectors_BCP: Tensor) -> Tensor:
    """The sum over vectors of the products of their pixels, all brought to length one."""
    return own_products(unit(vectors_BCP).mT)


def _scale(products_BCC: Tensor, eps: float = 1e-12) -> Tensor:
    """One by the length of each vector, whose products with itself and others these are."""
    squared_BC1 = products_BCC.diagonal(dim1=1, dim2=2)[:, :, None]
    return squared_BC1.clamp_min(eps**2).rsqrt() * (squared_BC1 > eps**2)


def _kernel(cosines_BCC: Tensor) -> Scalar:
    return squares(cosines_BCC) / cosines_BCC.numel()
