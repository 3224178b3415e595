"""MLKD, multi-level logit distillation (Jin et al., CVPR 2023)."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatum import blocks
from relatum.divergences import check_temperature, kl, same, squared
from relatum.precision import exact
from relatum.relations import gram
from relatum.types import Fault, Logits, Scalar

Mask = Literal["none", "scalar"]
MASKS: tuple[Mask, ...] = ("none", "scalar")
TERMS = ("all", "instance", "batch", "class")


class MLKD(nn.Module):
    r"""Match probabilities, and how they relate samples to samples and classes to classes.

    .. math::
        \sum_T \Bigl[ T^2 \, \mathrm{KL}(P_t \,\|\, P_s)
        + \frac1B \| P_t P_t^\top - P_s P_s^\top \|_F^2
        + \frac1C \| P_t^\top P_t - P_s^\top P_s \|_F^2 \Bigr],
        \qquad P = \sigma(Z / T)

    the instance, the batch and the class term; the Gram terms have no factor :math:`T^2`.

    Equal to the authors' code term by term, but for what is amiss in its sum: there a mask of
    the samples (or classes) of which the teacher is less sure than of half of them multiplies
    terms that are averaged already, so nothing is masked and the terms are about halved:
    ``mask="scalar"``. Their two views of every image (a weak and a strong augmentation) are
    another matter, and another budget: this is one view. (Of the strong one they drop two of
    the Gram terms and feed weak logits to the instance term at T = 2 and 6.)

    Args:
        term: ``"all"``, or ``"instance"``, ``"batch"`` or ``"class"`` alone.
        temperature: T > 0, one or several, which are summed; 2 to 6 as published.
        mask: ``"none"``, or ``"scalar"`` as the authors' code has it.

    Raises:
        Fault: an unknown choice, or a temperature that is not positive, or none.

    Example:
        >>> student, teacher = torch.randn(8, 10), torch.randn(8, 10)
        >>> whole, parts = MLKD(), [MLKD(term) for term in ("instance", "batch", "class")]
        >>> bool((whole(student, teacher) - sum(p(student, teacher) for p in parts)).abs() < 1e-4)
        True
    """

    relational = True

    def __init__(
        self,
        term: Literal["all", "instance", "batch", "class"] = "all",
        temperature: float | Sequence[float] = (2.0, 3.0, 4.0, 5.0, 6.0),
        mask: Mask = "none",
    ) -> None:
        super().__init__()
        self.temperature = (
            tuple(temperature) if isinstance(temperature, Sequence) else (temperature,)
        )
        if term not in TERMS:
            raise Fault(f"MLKD: term is one of {', '.join(TERMS)}, got {term!r}")
        if not self.temperature:
            raise Fault("MLKD: temperature must be positive, one or several, got none")
        for each in self.temperature:
            check_temperature(each, "MLKD")
        if mask not in MASKS:
            raise Fault(f"MLKD: mask is one of {', '.join(MASKS)}, got {mask!r}")
        self.term = term
        self.mask = mask

    def extra_repr(self) -> str:
        """Its settings."""
        return f"term={self.term!r}, temperature={self.temperature}, mask={self.mask!r}"

    @exact
    def forward(self, student: Logits, teacher: Logits) -> Scalar:
        """Logits (B, classes) of both networks to a scalar.

        Raises:
            Fault: the shapes differ.
        """
        same(student, teacher)
        teacher = teacher.detach()
        levels = [self._levels(student, teacher, each) for each in self.temperature]
        samples = torch.stack([instance + batch for instance, batch, _ in levels]).sum()
        classes = torch.stack([each for *_, each in levels]).sum()
        if self.mask == "scalar":
            sure_BC = F.softmax(teacher, dim=1)
            return samples * unsure(sure_BC.amax(1)) + classes * unsure(sure_BC.sum(0))
        return samples + classes

    def _levels(self, student: Logits, teacher: Logits, warmth: float) -> tuple[Scalar, ...]:
        """The three terms at one temperature; zero for those that are not asked for."""
        nothing = student.new_zeros(())
        student_BC, teacher_BC = (F.softmax(z / warmth, dim=1) for z in (student, teacher))
        instance = kl(student, teacher, warmth) if self._has("instance") else nothing
        batch = _apart(student_BC, teacher_BC) if self._has("batch") else nothing
        classes = _apart(student_BC.T, teacher_BC.T) if self._has("class") else nothing
        return instance, batch, classes

    def _has(self, term: str) -> bool:
        return self.term in ("all", term)


def unsure(confidence: Tensor) -> Tensor:
    """The share of samples, or of classes, that are at most as sure as the median: a half."""
    ordered, last = confidence.sort().values, len(confidence) - 1
    median = (ordered[last // 2] + ordered[(last + 1) // 2]) / 2
    return (confidence <= median).to(confidence.dtype).mean()


def _apart(student: Tensor, teacher: Tensor) -> Scalar:
    """The squared distance of two Gram matrices by their rows: the mean over R² times R."""
    pair = (student, teacher)
    return blocks.mean(_rows_apart, len(student), pair, pair) * len(student)


def _rows_apart(
    student_rows: Tensor, teacher_rows: Tensor, student: Tensor, teacher: Tensor
) -> Scalar:
    return squared(gram(student_rows, student), gram(teacher_rows, teacher))
