"""CTKD, curriculum temperature (Li et al., AAAI 2023, arXiv 2211.16231)."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from relatum.losses.kd import KD
from relatum.losses.wrapper import Wrapper
from relatum.precision import exact
from relatum.types import Fault, Labels, Logits, Scalar


class CTKD(Wrapper):
    r"""Another loss, at a temperature that learns to make it hard for the student.

    .. math:: \mathcal L = \ell_T(z^s, z^t), \qquad T = T_0 + T_1 \, \sigma(\theta)

    with one learned number :math:`\theta`, at first 1, for both networks and all samples. The
    student descends, :math:`\theta` ascends: its gradient is multiplied by a :math:`\lambda`
    that goes from 0 to -1 on half a cosine, so that the task grows harder. ``Objective`` and
    ``fit`` tell the loss how far the training is; in a loop of your own call ``at(progress)``,
    else :math:`\lambda` is -1 from the beginning.

    As in the authors' code (zhengli97/CTKD), whose :math:`\lambda` changes once an epoch and
    is one epoch ahead, where this one changes as ``at`` is called. The temperature of the last
    training step is kept for the log. Of their two forms this is the global one.

    Args:
        loss: ℓ, KD unless it is given, DKD, DIST, or one of your own with a method ``tempered``
            that takes what its ``forward`` does and ``temperature``, a tensor: the learned one
            stands in for its own. To standardise logits, put ``LSKD`` around this, not within.
        lowest: :math:`T_0` > 0; 1 as published.
        span: :math:`T_1` > 0; 20 as published.
        ramp: the share of the training after which :math:`\lambda` is -1: 1/24, which are the
            published 10 of 240 epochs; 0 for no ramp.

    Raises:
        Fault: a loss without a temperature to learn, or a number out of its range.

    Example:
        >>> loss = CTKD()
        >>> value = loss(torch.randn(8, 10), torch.randn(8, 10))
        >>> float(loss.temperature)
        15.62
    """

    diagnostics = ("temperature",)
    temperature: Tensor
    reversal: Tensor

    def __init__(
        self,
        loss: nn.Module | None = None,
        lowest: float = 1.0,
        span: float = 20.0,
        ramp: float = 1 / 24,
    ) -> None:
        super().__init__(KD() if loss is None else loss)
        if not hasattr(self.loss, "tempered"):
            raise Fault(
                "CTKD: wraps a loss whose temperature can be learned, by a method `tempered`, as"
                f" KD, DKD and DIST have it; {type(self.loss).__name__} has none"
            )
        for name, value in (("lowest", lowest), ("span", span)):
            if not value > 0:
                raise Fault(f"CTKD: {name} must be positive, got {value}")
        if not 0 <= ramp <= 1:
            raise Fault(f"CTKD: ramp is a share of the training, between 0 and 1, got {ramp}")
        self.lowest = lowest
        self.span = span
        self.ramp = ramp
        self.theta = nn.Parameter(torch.ones(()))
        self.register_buffer("reversal", torch.tensor(-1.0), persistent=False)
        self.register_buffer("temperature", self._warmth(self.theta.detach()), persistent=False)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"lowest={self.lowest}, span={self.span}, ramp={self.ramp:.4g}"

    def at(self, progress: float) -> None:
        """Set λ for this point of the training, which runs from 0 to 1."""
        super().at(progress)
        done = min(progress / self.ramp, 1.0) if self.ramp else 1.0
        self.reversal.fill_((math.cos(math.pi * done) - 1) / 2)

    @exact
    def forward(self, student: Logits, teacher: Logits, labels: Labels | None = None) -> Scalar:
        """Logits (B, classes) of both networks, and labels (B,) if the loss wants them.

        Raises:
            Fault: the shapes differ, or labels are missing.
        """
        still = self.theta.detach()
        warmth = self._warmth(still + self.reversal * (self.theta - still))
        if self.training:
            self.temperature.copy_(warmth.detach())
        given = self.given(student, teacher, labels)
        within: Any = self.loss
        value: Scalar = within.tempered(**given, temperature=warmth)
        return value

    def _warmth(self, theta: Tensor) -> Tensor:
        return self.lowest + self.span * torch.sigmoid(theta)
