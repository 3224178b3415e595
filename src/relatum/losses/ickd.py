"""ICKD, inter-channel correlation (Liu et al., ICCV 2021, arXiv 2202.03680)."""

import torch
from torch import Tensor, nn

from relatum.divergences import same, squares
from relatum.losses.connect import Maps, convolution, paired
from relatum.precision import exact
from relatum.relations import own_products, unit
from relatum.types import Fault, FeatureMap, Scalar

BLACK, DARK = 1e-12, 1e-6
"""Rows shorter than this are zero: of any map; of one whose channels BatchNorm brought to the
scale of one, where less is the rounding of a constant."""


class ICKD(nn.Module):
    r"""Match which channels of a map are alike to each network, sample by sample.

    .. math::
        \mathcal L = \sum_{stages} \frac{1}{BC} \sum_b \| G_S^b - G_T^b \|_F^2, \qquad
        G^b = \mathrm{rows\ of}\ F^b {F^b}^\top\ \mathrm{scaled\ to\ unit\ } L_2

    where :math:`F^b` is a sample's map as C rows of pixels. The student's map first goes through
    a 1x1 convolution without bias and BatchNorm, to the teacher's channels. Sizes may differ:
    pixels are summed.

    Differs from the authors' code (ADLab-AutoDrive/ICKD) in nothing but the edges: a channel that
    is zero everywhere sends no gradient through its own row. The second embedding that some of
    their versions declare and never use is left out. (torchdistill divides by B once more.)

    Args:
        student_channels: of the student's map; ``None`` if it has the teacher's channels
            already, and needs no convolution. For several maps, as many numbers.
        teacher_channels: of the teacher's; likewise.

    Raises:
        Fault: one of the two is missing, they do not pair, or a map has no channels.

    Example:
        >>> loss = ICKD(student_channels=16, teacher_channels=64)
        >>> bool(loss(torch.randn(8, 16, 4, 4), torch.randn(8, 64, 2, 2)) > 0)
        True
    """

    relational = True  # by its BatchNorm

    def __init__(
        self,
        student_channels: int | tuple[int, ...] | None = None,
        teacher_channels: int | tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        students, teachers = _each(student_channels), _each(teacher_channels)
        if len(students) != len(teachers):
            raise Fault(
                "ICKD: student_channels and teacher_channels pair one to one, got"
                f" {student_channels} and {teacher_channels}"
            )
        self.heads = nn.ModuleList(map(convolution, students, teachers))

    @exact
    def forward(self, student: Maps, teacher: Maps) -> Scalar:
        """Maps (B, channels, ...) to a scalar; tuples, one map for each stage, are summed.

        Raises:
            Fault: the networks differ in stages, samples or, behind the convolution, channels.
        """
        pairs = paired("ICKD", student, teacher)
        if self.heads:
            if len(pairs) != len(self.heads):
                raise Fault(f"ICKD was built for {len(self.heads)} maps, got {len(pairs)}")
            pairs = [(head(s), t) for head, (s, t) in zip(self.heads, pairs, strict=True)]
        dark = DARK if self.heads else BLACK
        return torch.stack([_apart(s, t, dark) for s, t in pairs]).sum()


def _apart(student: FeatureMap, teacher: FeatureMap, dark: float) -> Scalar:
    student_BCC, teacher_BCC = _correlation(student, dark), _correlation(teacher, BLACK)
    same(student_BCC, teacher_BCC)
    return squares(student_BCC - teacher_BCC) / student_BCC[..., 0].numel()


def _correlation(maps: FeatureMap, eps: float) -> Tensor:
    return unit(own_products(maps.flatten(2)), eps)


def _each(channels: int | tuple[int, ...] | None) -> tuple[int, ...]:
    return (channels,) if isinstance(channels, int) else tuple(channels or ())
