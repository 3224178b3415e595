"""DKD, decoupled knowledge distillation (Zhao et al., CVPR 2022, arXiv 2203.08679)."""

import torch
from torch import Tensor, nn

from relatum.divergences import check_temperature, kl
from relatum.losses.target import labelled, others, own
from relatum.precision import exact
from relatum.types import Fault, Labels, Logits, Scalar


class DKD(nn.Module):
    r"""Match how sure the teacher is of the label, and apart from it how it ranks the others.

    .. math::
        \mathcal L = \alpha T^2 \, \mathrm{KL}(b_t \,\|\, b_s)
        + \beta T^2 \, \mathrm{KL}(\hat p_t \,\|\, \hat p_s)

    with :math:`b = (p_y, 1 - p_y)` and :math:`\hat p` the soft-max
    over the classes that are not the label, both at temperature T; means over the batch. KD is
    the same with :math:`\alpha = 1` and the second term of each sample weighed by the
    teacher's :math:`1 - p_y`, which is small where the teacher is sure: DKD lets go of that.

    Equal to mdistiller's code, but the other classes are picked, where theirs subtracts a
    constant from the label's logit, and :math:`\ln(1 - p_y)` comes from the logits, where
    theirs takes the logarithm of a sum of probabilities: so a certain network gives a finite
    loss, and so do two classes, of which theirs makes NaN. The warm-up over the first 20 of
    240 epochs is not in the loss: ``Term(DKD(), weight=schedules.warmup(1 / 12, constant()))``.

    Args:
        alpha: weight of the target class; 1 as published.
        beta: weight of the others; 8 as published for resnet32x4 → resnet8x4 (2 and 6 for
            others of the benchmark's pairs).
        temperature: T > 0; 4 as published for CIFAR-100, 1 for ImageNet.

    Raises:
        Fault: a negative weight, or a temperature that is not positive.

    Example:
        >>> student, teacher = torch.randn(8, 10), torch.randn(8, 10)
        >>> loss = DKD()(student, teacher, labels=torch.arange(8))
        >>> bool(loss > 0)
        True
    """

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0) -> None:
        super().__init__()
        for name, weight in (("alpha", alpha), ("beta", beta)):
            if not weight >= 0:
                raise Fault(f"DKD: {name} must not be negative, got {weight}")
        check_temperature(temperature, "DKD")
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature

    def extra_repr(self) -> str:
        """Its settings."""
        return f"alpha={self.alpha}, beta={self.beta}, temperature={self.temperature}"

    def forward(self, student: Logits, teacher: Logits, labels: Labels) -> Scalar:
        """Logits (B, classes) of both networks and labels (B,) to a scalar.

        Raises:
            Fault: the shapes differ, or there is one class only.
        """
        return self.tempered(student, teacher, labels, self.temperature)

    @exact
    def tempered(
        self, student: Logits, teacher: Logits, labels: Labels, temperature: float | Tensor
    ) -> Scalar:
        """Itself at another temperature, which may be learned."""
        labelled("DKD", student, teacher, labels)
        teacher = teacher.detach()
        split = (_split(each / temperature, labels) for each in (student, teacher))
        target = kl(*split) * temperature**2
        rest = kl(others(student, labels), others(teacher, labels), temperature)
        return self.alpha * target + self.beta * rest


def _split(logits: Logits, labels: Labels) -> Tensor:
    """Two logits whose soft-max is the label's probability and that of all other classes."""
    return torch.stack([own(logits, labels), others(logits, labels).logsumexp(1)], dim=1)
