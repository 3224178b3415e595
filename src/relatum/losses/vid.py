"""VID, variational information distillation (Ahn et al., CVPR 2019, arXiv 1904.05835)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from relatum.divergences import same, squares
from relatum.losses.connect import Maps, paired, pooled
from relatum.precision import exact
from relatum.types import Fault, FeatureMap, Scalar


class VID(nn.Module):
    r"""Predict the teacher's feature map from the student's, with a variance for each channel.

    .. math::
        \mathcal L_{VID} = \frac12 \overline{\frac{(\mu(M_S) - M_T)^2}{v_c} + \ln v_c}, \qquad
        v_c = \ln(1 + e^{\rho_c}) + \epsilon

    the mean over all entries: but for a constant, minus the paper's lower bound of the mutual
    information. :math:`\mu` is three 1x1 convolutions with ReLU between them; :math:`\rho` is
    learned. Zero is not the least value, for a good prediction makes variances small. The
    larger map is average-pooled to the smaller.

    Equal to RepDistiller's code, whose :math:`e^\rho` overflows where :math:`\rho` is large;
    here it does not. Differs from mdistiller's, which keeps :math:`\rho` in a list where no
    optimiser finds it.

    Args:
        student_channels: of the student's map.
        teacher_channels: of the teacher's map.
        mid_channels: between the convolutions; the teacher's if ``None``, as in RepDistiller.
        eps: the least variance; 1e-5 as in RepDistiller.
        initial_variance: of every channel; 5 as in RepDistiller.

    Raises:
        Fault: a number is not positive, or ``initial_variance`` not above ``eps``.

    Example:
        >>> loss = VID(student_channels=8, teacher_channels=32)
        >>> loss(torch.randn(4, 8, 16, 16), torch.randn(4, 32, 8, 8)).shape
        torch.Size([])
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        mid_channels: int | None = None,
        eps: float = 1e-5,
        initial_variance: float = 5.0,
    ) -> None:
        super().__init__()
        mid = teacher_channels if mid_channels is None else mid_channels
        sizes = {
            "student_channels": student_channels,
            "teacher_channels": teacher_channels,
            "mid_channels": mid,
            "eps": eps,
        }
        for name, value in sizes.items():
            if not value > 0:
                raise Fault(f"VID: {name} must be positive, got {value}")
        if not initial_variance > eps:
            raise Fault(f"VID: initial_variance must be above eps, {eps:g}, got {initial_variance}")
        self.eps = eps
        self.regressor = nn.Sequential(
            nn.Conv2d(student_channels, mid, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(mid, mid, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(mid, teacher_channels, 1, bias=False),
        )
        above = initial_variance - eps
        start = above + math.log(-math.expm1(-above))  # the inverse of softplus
        self.log_scale = nn.Parameter(torch.full((teacher_channels,), start))

    def extra_repr(self) -> str:
        """Its setting."""
        return f"eps={self.eps}"

    @exact
    def forward(self, student: FeatureMap, teacher: FeatureMap) -> Scalar:
        """Maps (B, C, H, W) of both networks to a scalar."""
        student, teacher = pooled(student, teacher.detach())
        mean = self.regressor(student)
        same(mean, teacher)
        # beyond the threshold softplus is its argument, exact in float64 from 37 on
        variance_C = F.softplus(self.log_scale, threshold=40.0) + self.eps
        # a variance divides the sum of its channel's squares, not each of them
        apart_C = squares(mean - teacher, (0, 2, 3)) / mean[:, 0].numel()
        loss: Scalar = (apart_C / variance_C + variance_C.log()).mean() / 2
        return loss


class VIDStages(nn.Module):
    """VID at several stages: the sum, as in RepDistiller's benchmark; no two share a regressor.

    Args:
        student_channels: of the student's maps, shallow to deep.
        teacher_channels: of the teacher's, as many.
        eps: as of ``VID``.
        initial_variance: likewise.

    Raises:
        Fault: the networks differ in stages, or a number does not suit ``VID``.

    Example:
        >>> loss = VIDStages(student_channels=(8, 16), teacher_channels=(32, 64))
        >>> students = torch.randn(4, 8, 8, 8), torch.randn(4, 16, 4, 4)
        >>> loss(students, (torch.randn(4, 32, 8, 8), torch.randn(4, 64, 4, 4))).shape
        torch.Size([])
    """

    def __init__(
        self,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        eps: float = 1e-5,
        initial_variance: float = 5.0,
    ) -> None:
        super().__init__()
        if len(student_channels) != len(teacher_channels) or not student_channels:
            raise Fault(
                f"VIDStages pairs stages one to one: got {len(student_channels)} of the student"
                f" and {len(teacher_channels)} of the teacher"
            )
        self.stages = nn.ModuleList(
            VID(student, teacher, eps=eps, initial_variance=initial_variance)
            for student, teacher in zip(student_channels, teacher_channels, strict=True)
        )

    @exact
    def forward(self, student: Maps, teacher: Maps) -> Scalar:
        """Tuples of maps (B, C, H, W) of both networks, one for each stage, to a scalar."""
        pairs = paired("VIDStages", student, teacher)
        if len(pairs) != len(self.stages):
            raise Fault(f"VIDStages was built for {len(self.stages)} stages, got {len(pairs)}")
        losses = [stage(*pair) for stage, pair in zip(self.stages, pairs, strict=True)]
        return torch.stack(losses).sum()
