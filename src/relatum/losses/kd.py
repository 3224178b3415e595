"""Soft targets (Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015)."""

from torch import Tensor, nn

from relatum.divergences import check_temperature, kl
from relatum.types import Logits, Scalar


class KD(nn.Module):
    r"""Match the teacher's softened classes.

    .. math:: T^2 \, \mathrm{KL}(\sigma(z_t / T) \,\|\, \sigma(z_s / T))

    The mean over the batch, the sum over classes; the factor :math:`T^2` keeps the gradient's
    size when the temperature changes. Equal to RepDistiller's code, which adds it to
    cross-entropy with weights 0.9 and 0.1.

    Args:
        temperature: T > 0; 4 as in the benchmark (CRD, ICLR 2020).

    Example:
        >>> import torch
        >>> KD()(torch.zeros(2, 3), torch.zeros(2, 3))
        tensor(0.)
    """

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        check_temperature(temperature, "KD")
        self.temperature = temperature

    def extra_repr(self) -> str:
        """Its setting."""
        return f"temperature={self.temperature}"

    def forward(self, student: Logits, teacher: Logits) -> Scalar:
        """Logits (B, classes) of both networks to a scalar."""
        return self.tempered(student, teacher, self.temperature)

    def tempered(self, student: Logits, teacher: Logits, temperature: float | Tensor) -> Scalar:
        """Itself at another temperature, which may be learned."""
        return kl(student, teacher.detach(), temperature)
