"""FT, factor transfer (Kim, Park & Kwak, NeurIPS 2018, arXiv 1802.04977)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from relatum.divergences import same, squared
from relatum.losses.at import attention
from relatum.losses.connect import pooled
from relatum.precision import exact
from relatum.types import Fault, FeatureMap, Scalar


class Paraphraser(nn.Module):
    r"""Learn to say a teacher's feature map in fewer channels: a convolutional auto-encoder.

    .. math:: \mathcal L_{rec} = \overline{\big( M_T - D(E(M_T)) \big)^2}

    Three 3x3 convolutions encode and three transposed ones decode,
    each with a LeakyReLU of slope 0.1; the encoder's result is the teacher's *factor*. It is
    trained before the student is, which it does not look at, and rests from then on.

    Equal to RepDistiller's code without BatchNorm, which that has switched off.

    Args:
        channels: of the teacher's map.
        share: channels of the factor, as a share of those; 0.5 as in the benchmark.

    Raises:
        Fault: there would be no channels, or the share is above one.

    Example:
        >>> paraphraser = Paraphraser(channels=32)
        >>> teacher = torch.randn(4, 32, 8, 8)
        >>> bool(paraphraser(teacher) > 0), paraphraser.factor(teacher).shape
        (True, torch.Size([4, 16, 8, 8]))
    """

    def __init__(self, channels: int, share: float = 0.5) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise Fault(f"Paraphraser: share is above 0 and at most 1, got {share}")
        self.channels, self.factor_channels = channels, int(channels * share)
        if self.factor_channels < 1:
            raise Fault(f"Paraphraser: no channels are left of {channels} at a share of {share}")
        mid = self.factor_channels
        self.encoder = _convolutions(nn.Conv2d, (channels, channels, mid, mid))
        self.decoder = _convolutions(nn.ConvTranspose2d, (mid, mid, channels, channels))

    @exact
    def forward(self, teacher: FeatureMap) -> Scalar:
        """Maps (B, C, H, W) of the teacher to how badly they are reconstructed, a scalar."""
        teacher = teacher.detach()
        return squared(self.decoder(self.encoder(teacher)), teacher)

    @exact
    def factor(self, teacher: FeatureMap) -> FeatureMap:
        """Maps (B, C, H, W) of the teacher to its factor (B, C', H, W)."""
        factor: FeatureMap = self.encoder(teacher)
        return factor


class FT(nn.Module):
    r"""Match the teacher's factor with a translation of the student's feature map.

    .. math::
        \mathcal L_{FT} = \overline{\big| a(F_S) - a(F_T) \big|}, \qquad
        a(F) = \frac{q}{\|q\|_2}, \quad q_x = \frac{1}{C'} \sum_c |F_{cx}|^p

    the mean over samples and pixels. :math:`F_T` is what a trained ``Paraphraser`` makes of the
    teacher's last map; :math:`F_S` is what the translator, three 3x3 convolutions with
    BatchNorm and LeakyReLU, makes of the student's. The larger factor is average-pooled.

    Equal to RepDistiller's code, but for the biases of the translator's convolutions, which
    BatchNorm takes away again. That code, and so this, differs from the paper, which scales
    the factors themselves to unit length, not their mean squares over channels.

    Args:
        paraphraser: of the teacher's map, trained before. It is part of this module, declared
            fixed: no gradient reaches it. ``None`` where both factors are given to ``forward``.
        student_channels: of the student's map, for the translator.
        p: the power; 2 as in the benchmark.

    Raises:
        Fault: only one of the first two is given, or p is below one; in ``forward``, the
            batches differ.

    Example:
        >>> loss = FT(Paraphraser(channels=32), student_channels=8)
        >>> bool(loss(torch.randn(4, 8, 8, 8), torch.randn(4, 32, 8, 8)) > 0)
        True
    """

    relational = True  # BatchNorm sees the batch

    def __init__(
        self,
        paraphraser: Paraphraser | None = None,
        student_channels: int | None = None,
        p: float = 2,
    ) -> None:
        super().__init__()
        if not p >= 1:
            raise Fault(f"FT: p is at least one, got {p}")
        if (paraphraser is None) != (student_channels is None):
            raise Fault("FT: give a paraphraser and student_channels, or none of them")
        self.p = p
        self.paraphraser = paraphraser
        self.translator: nn.Module = nn.Identity()
        if paraphraser is not None and student_channels is not None:
            if student_channels < 1:
                raise Fault(f"FT: student_channels must be positive, got {student_channels}")
            paraphraser.requires_grad_(False)
            mid = paraphraser.factor_channels
            widths = (student_channels, student_channels, mid, mid)
            self.translator = _convolutions(nn.Conv2d, widths, norm=True)

    def extra_repr(self) -> str:
        """Its setting."""
        return f"p={self.p}"

    @exact
    def forward(self, student: FeatureMap, teacher: FeatureMap) -> Scalar:
        """Maps (B, C, H, W) of both networks, or their factors, to a scalar."""
        if self.paraphraser is not None:
            with torch.no_grad():
                teacher = self.paraphraser.factor(teacher)
        student, teacher = pooled(self.translator(student), teacher.detach())
        student, teacher = attention(student, self.p), attention(teacher, self.p)
        same(student, teacher)
        return F.l1_loss(student, teacher)


def _convolutions(
    kind: type[nn.Conv2d | nn.ConvTranspose2d], widths: tuple[int, ...], norm: bool = False
) -> nn.Sequential:
    """Convolutions 3 wide from each width to the next, each with a LeakyReLU of slope 0.1."""
    layers: list[nn.Module] = []
    for entering, leaving in pairwise(widths):
        layers.append(kind(entering, leaving, 3, padding=1, bias=not norm))
        layers += [nn.BatchNorm2d(leaving)] if norm else []
        layers.append(nn.LeakyReLU(0.1))
    return nn.Sequential(*layers)
