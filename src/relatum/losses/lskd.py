"""LSKD, logit standardisation (Sun et al., CVPR 2024, arXiv 2403.01427)."""

import torch
from torch import Tensor, nn

from relatum.divergences import same
from relatum.losses.kd import KD
from relatum.losses.wrapper import Wrapper
from relatum.precision import exact
from relatum.types import Fault, Labels, Logits, Scalar


class LSKD(Wrapper):
    r"""Another loss, of logits that every sample has standardised over its classes.

    .. math:: z \leftarrow \frac{z - \bar z}{\mathrm{std}(z) + 10^{-7}}

    with the unbiased deviation, for both networks, then KD, whose temperature counts from
    there, or any loss on logits. So the student need not have the teacher's range of logits,
    only their pattern: the loss does not change when a row is shifted or stretched.

    Equal to the authors' code, without its weight (9, for most pairs). Differs at the edges: a
    row whose logits are all alike, up to rounding, sends no gradient (theirs sends one some 1e7
    times too large).

    Args:
        temperature: of KD; 2 as published for most pairs. Only without a loss of your own.
        loss: what compares the standardised logits, KD unless it is given: ``DKD(beta=2)``,
            ``MLKD()``, ``CTKD()``, at temperatures of their own.

    Raises:
        Fault: both are given, the temperature is not positive, or the loss takes anything but
            logits and labels.

    Example:
        >>> from relatum.losses import DKD
        >>> teacher = torch.randn(8, 10)
        >>> bool(LSKD()(3 * teacher + 1, teacher) < 1e-6)
        True
        >>> LSKD(loss=DKD(temperature=2.0))
        LSKD(
          (loss): DKD(alpha=1.0, beta=8.0, temperature=2.0)
        )
    """

    def __init__(self, temperature: float | None = None, loss: nn.Module | None = None) -> None:
        if temperature is not None and loss is not None:
            raise Fault("LSKD: the temperature is KD's; give the one of your loss to that loss")
        super().__init__(KD(2.0 if temperature is None else temperature) if loss is None else loss)

    @exact
    def forward(self, student: Logits, teacher: Logits, labels: Labels | None = None) -> Scalar:
        """Logits (B, classes) of both networks, and labels (B,) if the loss wants them.

        Raises:
            Fault: the shapes differ, there is one class only, or labels are missing.
        """
        same(student, teacher)
        if student.shape[1] < 2:
            raise Fault("LSKD: one class alone has no deviation")
        student, teacher = standardised(student), standardised(teacher.detach())
        value: Scalar = self.loss(**self.given(student, teacher, labels))
        return value


def standardised(logits: Logits) -> Tensor:
    """Rows with mean 0 and unbiased deviation 1; zero where nothing but rounding varies."""
    rounding = 8 * torch.finfo(logits.dtype).eps * logits.abs().amax(1, keepdim=True)
    centred = logits - logits.mean(1, keepdim=True)
    deviation = logits.std(1, keepdim=True)
    return centred * (deviation > rounding) / (deviation + 1e-7)
