"""OFD, overhaul of feature distillation (Heo et al., ICCV 2019, arXiv 1904.01866)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from relatum.divergences import same, squares
from relatum.losses.connect import Maps, convolution, paired, pool
from relatum.precision import exact
from relatum.types import Fault, FeatureMap, Scalar

RARE = 1e-3
"""Where a channel is negative less often than this, its margin is three deviations instead."""


@exact
def OFDMargin(weight: Tensor, bias: Tensor) -> Tensor:  # noqa: N802, the reference numbers' name
    r"""How negative a channel is on average where it is negative, of the batch norm that forms it.

    .. math::
        m = \mathrm{E}[x \mid x < 0] = \mu - \sigma \, \frac{\varphi(\mu/\sigma)}{\Phi(-\mu/\sigma)}
        \quad\text{for}\quad x \sim \mathcal N(\mu = bias,\; \sigma = |weight|),

    or :math:`-3\sigma` where :math:`\Phi(-\mu/\sigma) \le 0.001`. Nothing is run through the
    teacher for it. Equal to clovaai/overhaul-distillation, computed in float64; a weight of zero,
    which divides by zero there, gives ``min(bias, 0)``.

    Args:
        weight: of the batch norm, one number a channel.
        bias: likewise.

    Example:
        >>> OFDMargin(torch.ones(2), torch.tensor([0.0, 4.0]))
        tensor([-0.7979, -3.0000])
    """
    mean = bias.detach().double()
    deviation = weight.detach().double().abs()
    ratio = mean / deviation.clamp_min(torch.finfo(torch.float64).tiny)
    below = torch.special.ndtr(-ratio)
    density = torch.exp(-ratio.square() / 2) / math.sqrt(2 * math.pi)
    usual = mean - deviation * density / below
    return torch.where(below > RARE, usual, -3 * deviation).to(weight.dtype)


class OFD(nn.Module):
    r"""Match the teacher's maps before their ReLU, but only as far as a ReLU lets one see.

    .. math::
        \mathcal L = \sum_{i=1}^n 2^{i-n} \, \frac1B \sum_{b,c,p}
        \begin{cases} 0 & s \le t' \le 0 \\ (s - t')^2 & \text{otherwise} \end{cases},
        \qquad t' = \max(t, m_c)

    with s the student's map behind a 1x1 convolution without bias
    and BatchNorm, t the teacher's map, average-pooled to the student's size, and :math:`m_c` a
    negative margin for each channel, from ``OFDMargin``. It is a **sum** over channels and
    pixels, hence the weight of 1e-3.

    Equal to mdistiller's code, and to clovaai/overhaul-distillation's divided by its batch.
    Differs from both around the loss: they have the teacher in training mode, so that its
    statistics drift; ours never is.

    Args:
        margins: for each stage one number a channel of the teacher, shallow to deep.
        student_channels: of the student's maps, as many; ``None`` if they have the teacher's
            channels already, and need no convolution.

    Raises:
        Fault: there are no margins, or they and the channels do not pair.

    Example:
        >>> norm = nn.BatchNorm2d(64)
        >>> loss = OFD([OFDMargin(norm.weight, norm.bias)], student_channels=[16])
        >>> bool(loss(torch.randn(8, 16, 4, 4), torch.randn(8, 64, 4, 4)) > 0)
        True
    """

    relational = True  # by its BatchNorm

    def __init__(
        self, margins: Sequence[Tensor], student_channels: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        if not margins or any(margin.ndim != 1 for margin in margins):
            raise Fault("OFD: margins are one vector for each stage, a number for each channel")
        if student_channels is not None and len(student_channels) != len(margins):
            raise Fault(
                f"OFD: {len(student_channels)} student_channels and {len(margins)} margins do not"
                " pair; give one of each for every stage"
            )
        for stage, margin in enumerate(margins):
            self.register_buffer(f"margin{stage}", margin.detach().clone())
        self.stages = len(margins)
        widths = [len(margin) for margin in margins]
        self.heads = nn.ModuleList(map(convolution, student_channels or (), widths))
        for head in self.heads:
            weight = head.get_parameter("0.weight")
            nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")

    @exact
    def forward(self, student: Maps, teacher: Maps) -> Scalar:
        """Maps (B, channels, height, width) before their ReLU, one for each stage, to a scalar.

        Raises:
            Fault: the networks differ in stages or samples, or the stages or channels are not
                those of the margins.
        """
        pairs = paired("OFD", student, teacher)
        if len(pairs) != self.stages:
            raise Fault(f"OFD was built for {self.stages} stages, got {len(pairs)}")
        losses = []
        for stage, (student_map, teacher_map) in enumerate(pairs):
            head = self.heads[stage] if self.heads else nn.Identity()
            margin = self.get_buffer(f"margin{stage}")
            loss = _visible(head(student_map), teacher_map, margin)
            losses.append(loss / 2 ** (self.stages - 1 - stage))
        return torch.stack(losses).sum()


def _visible(student: FeatureMap, teacher: FeatureMap, margin: Tensor) -> Scalar:
    if teacher.shape[1] != len(margin):
        raise Fault(f"OFD: {len(margin)} margins for {teacher.shape[1]} channels of the teacher")
    height, width = student.shape[2:]
    target = pool(teacher, height, width)
    same(student, target)
    target = torch.maximum(target, margin[:, None, None])
    counts = (student > target) | (target > 0)
    return squares(torch.where(counts, student - target, 0)) / len(student)
