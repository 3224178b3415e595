"""RLD, refined logit distillation (Sun et al., ICCV 2025, arXiv 2408.07703)."""

import torch
from torch import Tensor, nn

from relatum.divergences import check_temperature, kl
from relatum.losses.target import labelled, others, own
from relatum.precision import exact
from relatum.types import Fault, Labels, Logits, Scalar


class RLD(nn.Module):
    r"""Learn how sure the teacher is, not of what, and how it ranks what it puts below the label.

    .. math::
        \mathcal L = \alpha T_\alpha^2 \, \mathrm{KL}(c_t \,\|\, c_s)
        + \beta T^2 \, \mathrm{KL}(m_t \,\|\, m_s)

    with :math:`c_t = (\max p_t, 1 - \max p_t)`, :math:`c_s = (p_{s,y}, 1 - p_{s,y})` at
    temperature :math:`T_\alpha`, and m the soft-max at temperature T over the classes whose
    teacher's logit is below that of the label: where the teacher errs, what it puts above
    the label misleads, and is left out. Means over the batch; a sample whose label the teacher
    puts last adds nothing to the second term.

    Differs from the authors' code (zju-SWJ/RLD) where that is at its default in the edges only:
    a certain network and an empty mask give finite numbers. (A switch there sets
    :math:`T_\alpha` to T.) The warm-up over the first 20 of 240 epochs is not in the loss.

    Args:
        alpha: weight of the confidence; 1 as published.
        beta: weight of the masked classes; 8 as published for most pairs.
        temperature: T > 0; 4 as published for CIFAR-100.
        confidence_temperature: :math:`T_\alpha` > 0; 1 as published.

    Raises:
        Fault: a negative weight, or a temperature that is not positive.

    Example:
        >>> student, teacher = torch.randn(8, 10), torch.randn(8, 10)
        >>> bool(RLD()(student, teacher, labels=torch.arange(8)) > 0)
        True
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 8.0,
        temperature: float = 4.0,
        confidence_temperature: float = 1.0,
    ) -> None:
        super().__init__()
        for name, weight in (("alpha", alpha), ("beta", beta)):
            if not weight >= 0:
                raise Fault(f"RLD: {name} must not be negative, got {weight}")
        for each in (temperature, confidence_temperature):
            check_temperature(each, "RLD")
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature
        self.confidence_temperature = confidence_temperature

    def extra_repr(self) -> str:
        """Its settings."""
        return (
            f"alpha={self.alpha}, beta={self.beta}, temperature={self.temperature},"
            f" confidence_temperature={self.confidence_temperature}"
        )

    @exact
    def forward(self, student: Logits, teacher: Logits, labels: Labels) -> Scalar:
        """Logits (B, classes) of both networks and labels (B,) to a scalar.

        Raises:
            Fault: the shapes differ, or there is one class only.
        """
        labelled("RLD", student, teacher, labels)
        teacher = teacher.detach()
        warmth = self.confidence_temperature
        said = _split(student / warmth, labels)
        confidence = kl(said, _split(teacher / warmth, teacher.argmax(1))) * warmth**2
        below = teacher < own(teacher, labels)[:, None]
        masked = _masked_kl(student / self.temperature, teacher / self.temperature, below)
        return self.alpha * confidence + self.beta * self.temperature**2 * masked


def _split(logits: Logits, classes: Labels) -> Tensor:
    """Two logits: of each row's class, and of all others together."""
    return torch.stack([own(logits, classes), others(logits, classes).logsumexp(1)], dim=1)


def _masked_kl(student: Logits, teacher: Logits, kept: Tensor) -> Scalar:
    """KL over each row's kept classes alone, mean over the batch; nothing where none are kept."""
    some = kept.any(1, keepdim=True)
    # a row without any keeps all, so that it is finite, and counts for nothing below
    logs = [
        each.masked_fill(some & ~kept, float("-inf")).log_softmax(1).masked_fill(~kept, 0.0)
        for each in (student, teacher)
    ]
    return (kept * logs[1].exp() * (logs[1] - logs[0])).sum(1).mean()
