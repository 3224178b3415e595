"""LumiNet, perception of logits (Hossain et al., TMLR 2025, arXiv 2310.03669)."""

from torch import Tensor, nn

from relatum.divergences import check_temperature, kl
from relatum.precision import exact
from relatum.types import Logits, Scalar


class LumiNet(nn.Module):
    r"""Soft targets of logits that each class has standardised over the batch.

    .. math::
        \mathcal L = \mathrm{KL}(\sigma(h^t / T) \,\|\, \sigma(h^s / T)),
        \qquad h_{ij} = \frac{z_{ij} - \mu_j}{\sqrt{v_j + 10^{-5}}}

    with the mean and the biased variance of class j's logits in the batch; the mean over the
    batch, no factor :math:`T^2`. What counts is how far a sample is from what the class is used
    to, so it depends on who is in the batch, is noisy for a small one and zero for one sample.

    Equal to the authors' code (ismail31416/LumiNet) without its weight, which stands outside:
    they multiply by the *square* of their option ``ALPHA``, so their 33 is a weight of 1089.
    The warm-up over 20 of 240 epochs belongs to the weight, too.

    Args:
        temperature: T > 0; 4 as published for resnet32x4 → resnet8x4 (8 for most others).

    Raises:
        Fault: a temperature that is not positive.

    Example:
        >>> import torch
        >>> student, teacher = torch.randn(8, 10), torch.randn(8, 10)
        >>> bool(LumiNet()(student, teacher) > 0), LumiNet()(teacher, teacher)
        (True, tensor(0.))
    """

    relational = True

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        check_temperature(temperature, "LumiNet")
        self.temperature = temperature

    def extra_repr(self) -> str:
        """Its setting."""
        return f"temperature={self.temperature}"

    @exact
    def forward(self, student: Logits, teacher: Logits) -> Scalar:
        """Logits (B, classes) of both networks to a scalar.

        Raises:
            Fault: the shapes differ.
        """
        warmth = self.temperature
        return kl(_perceived(student) / warmth, _perceived(teacher.detach()) / warmth)


def _perceived(logits: Logits) -> Tensor:
    centred = logits - logits.mean(0)
    return centred * (centred.square().mean(0) + 1e-5).rsqrt()
