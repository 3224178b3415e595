"""SKD, streamlined knowledge distillation (Jeong et al., CVPR 2026)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatum.divergences import kl, same
from relatum.losses.mlkd import MASKS, Mask, unsure
from relatum.precision import exact
from relatum.relations import cosine
from relatum.types import Fault, Logits, Scalar

TERMS = ("all", "instance", "direction")


class SKD(nn.Module):
    r"""Match probabilities, and the directions of the samples' logits to each other.

    .. math::
        T^2 \, \mathrm{KL}(\sigma(z_t / T) \,\|\, \sigma(z_s / T))
        + \frac1B \sum_i \sqrt{d_i^\top (\Sigma + \lambda I)^{-1} d_i},
        \qquad D = \frac1C (\hat Z_s \hat Z_s^\top - \hat Z_t \hat Z_t^\top)

    the instance and the direction term: :math:`\hat Z` are logits scaled to unit length,
    :math:`d_i` the rows of D and :math:`\Sigma` their covariance (unbiased), through which
    gradient flows. So it is SP on logits, measured where unlike spread is evened out, which
    equals :math:`\frac1B \sum_i \| L^{-1} d_i \|` with Cholesky's L. Its least value is zero.

    As in the authors' code (HyunJunSik/StreamLined), the division by the number of classes
    included, of which the paper says nothing: :math:`\lambda` counts relative to it. It differs
    where the code does something else than the paper: there masks of the samples and classes of
    which the teacher is less sure than of half of them multiply terms that are averaged
    already, so that both terms are about halved: ``mask="scalar"``. And it differs at D = 0,
    where their square root has an infinite gradient and this one none.

    Args:
        term: ``"all"``, or ``"instance"`` or ``"direction"`` alone.
        temperature: T > 0 of the instance term; 4 as published.
        tikhonov: :math:`\lambda` > 0; 0.1 as published.
        mask: ``"none"`` as in the paper, or ``"scalar"`` as in the code.

    Raises:
        Fault: an unknown choice, or a number that is not positive.

    Example:
        >>> student, teacher = torch.randn(8, 10), torch.randn(8, 10)
        >>> bool(SKD()(student, teacher) > 0)
        True
    """

    relational = True

    def __init__(
        self,
        term: Literal["all", "instance", "direction"] = "all",
        temperature: float = 4.0,
        tikhonov: float = 0.1,
        mask: Mask = "none",
    ) -> None:
        super().__init__()
        for name, value in (("temperature", temperature), ("tikhonov", tikhonov)):
            if not value > 0:
                raise Fault(f"SKD: {name} must be positive, got {value}")
        if term not in TERMS:
            raise Fault(f"SKD: term is one of {', '.join(TERMS)}, got {term!r}")
        if mask not in MASKS:
            raise Fault(f"SKD: mask is one of {', '.join(MASKS)}, got {mask!r}")
        self.term = term
        self.temperature = temperature
        self.tikhonov = tikhonov
        self.mask = mask

    def extra_repr(self) -> str:
        """Its settings."""
        return (
            f"term={self.term!r}, temperature={self.temperature}, tikhonov={self.tikhonov},"
            f" mask={self.mask!r}"
        )

    @exact
    def forward(self, student: Logits, teacher: Logits) -> Scalar:
        """Logits (B, classes) of both networks to a scalar.

        Raises:
            Fault: the shapes differ.
        """
        same(student, teacher)
        teacher = teacher.detach()
        instance = direction = student.new_zeros(())
        if self.term != "direction":
            instance = kl(student, teacher, self.temperature)
        if self.term != "instance":
            direction = self._direction(student, teacher)
        if self.mask == "scalar":
            sure_BC = F.softmax(teacher, dim=1)
            return instance * unsure(sure_BC.amax(1)) + direction * unsure(sure_BC.sum(0))
        return instance + direction

    def _direction(self, student: Logits, teacher: Logits) -> Scalar:
        apart_BB = (cosine(student) - cosine(teacher)) / student.shape[1]
        centred_BB = apart_BB - apart_BB.mean(0)
        spread_BB = centred_BB.T @ centred_BB / max(len(student) - 1, 1)
        one_BB = torch.eye(len(student), dtype=student.dtype, device=student.device)
        # without its check for definiteness, which waits for the device: the ridge sees to it
        factor_BB, _ = torch.linalg.cholesky_ex(spread_BB + self.tikhonov * one_BB)
        whitened_BB = torch.linalg.solve_triangular(factor_BB, apart_BB.T, upper=False)
        length_B: Tensor = torch.linalg.vector_norm(whitened_BB, dim=0)
        return length_B.mean()
