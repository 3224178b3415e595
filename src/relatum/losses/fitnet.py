"""FitNet, hints from a middle layer (Romero et al., ICLR 2015, arXiv 1412.6550)."""

from torch import nn

from relatum.divergences import squared
from relatum.losses.connect import Shape, connector
from relatum.precision import exact
from relatum.types import Fault, FeatureMap, Scalar


class FitNet(nn.Module):
    r"""Regress the teacher's feature map on the student's.

    .. math:: \mathcal L_{HT} = \overline{\big( r(M_S) - M_T \big)^2}

    the mean over all entries, where the regressor r is a convolution that brings the student's
    map to the teacher's shape, BatchNorm and ReLU (equation 3 of the paper, which has half the
    sum over a sample's entries). r is thrown away after training.

    Equal to RepDistiller's code, whose regressor has one more parameter a channel: a bias that
    BatchNorm takes away again. As in that code, and unlike in the paper, hint and task are
    learned together, not one after the other. Differs from mdistiller's, which finds out the
    shapes by pushing noise through the teacher in training mode: shapes are given here.

    Args:
        student_shape: channels, height and width of the student's map, without the batch.
            ``None`` where it already has the teacher's shape (or a regressor of your own has
            seen to that): then there is no regressor.
        teacher_shape: likewise of the teacher's.
        relu: end the regressor with a ReLU, as all published code does; ``False`` is for maps
            with negative entries, such as a WideResNet's, which no ReLU can reach.

    Raises:
        Fault: one shape comes without the other, or no such regressor leads from one to the
            other; in ``forward``, the shapes differ.

    Example:
        >>> import torch
        >>> loss = FitNet(student_shape=(16, 8, 8), teacher_shape=(64, 16, 16))
        >>> bool(loss(torch.randn(4, 16, 8, 8), torch.randn(4, 64, 16, 16)) > 0)
        True
    """

    relational = True  # BatchNorm sees the batch

    def __init__(
        self,
        student_shape: Shape | None = None,
        teacher_shape: Shape | None = None,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.regressor: nn.Module = nn.Identity()
        if student_shape is not None and teacher_shape is not None:
            self.regressor = connector(student_shape, teacher_shape, relu=relu)
        elif student_shape is not None or teacher_shape is not None:
            raise Fault("FitNet: give the shapes of both maps, or of neither")

    @exact
    def forward(self, student: FeatureMap, teacher: FeatureMap) -> Scalar:
        """Maps (B, C, H, W) of both networks to a scalar."""
        return squared(self.regressor(student), teacher.detach())
