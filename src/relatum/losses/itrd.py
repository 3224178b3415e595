"""ITRD, information theoretic representation distillation (Miles et al., BMVC 2022).

arXiv 2112.00459.
"""

import torch
from torch import Tensor, nn

from relatum import blocks, relations
from relatum.divergences import same_samples
from relatum.precision import exact
from relatum.types import Embedding, Fault, Scalar


class ITRD(nn.Module):
    r"""Correlate every feature with the teacher's, and share the information of the batch.

    The student's embedding is projected linearly to the teacher's width. *Correlation*: with
    both standardised per feature over the batch, :math:`c_j = \frac1B \sum_b s_{bj} t_{bj}`,

    .. math:: \mathcal L_{corr} = \log_2 \sum_j |c_j - 1|^{2\alpha}

    *Mutual information*, by Rényi's entropy of order two: with the matrices of cosines
    :math:`G_S`, :math:`G_T` and their elementwise product :math:`G_{ST}`, the first and the
    last divided by their traces,

    .. math:: \mathcal L_{mut} = \sum_{ij} (G_S^2 - G_{ST}^2)_{ij}

    The loss is :math:`\lambda_c \mathcal L_{corr} + \lambda_m \mathcal L_{mut}`. A logarithm of
    something small, the first is negative for a good student.

    Equal to the authors' code (roymiles/ITRD), where the projection serves the mutual part
    only if the widths differ. giakoumoglou/distillers stores the two weights and ignores them. It
    differs in that a feature that does not vary in the batch (by 1e-5) counts as uncorrelated
    (theirs: NaN), in a batch of one all of them; and in that what can never get a gradient is
    declared frozen: the projection's shift where only the correlation, which standardises it
    away, reads it, and all of the projection where nothing does.

    The last training step's ``correlation`` and ``mutual``, before their weights, are kept
    for the log.

    Args:
        student_dim: width of the student's embedding.
        teacher_dim: width of the teacher's embedding.
        alpha: :math:`\alpha`; 1.5 as the default of the code (1.01 in its example for
            WRN-40-2 to WRN-16-2, with weights 2 and 1).
        correlation_weight: :math:`\lambda_c`; 2 as in the code.
        mutual_weight: :math:`\lambda_m`; 0.05 as in the code.

    Raises:
        Fault: a width or alpha that is not positive, a negative weight, or both weights zero.

    Example:
        >>> loss = ITRD(32, 64)(torch.randn(8, 32), torch.randn(8, 64))
        >>> bool(loss.isfinite())
        True
    """

    relational = True
    diagnostics = ("correlation", "mutual")
    correlation: Tensor
    mutual: Tensor

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        alpha: float = 1.5,
        correlation_weight: float = 2.0,
        mutual_weight: float = 0.05,
    ) -> None:
        super().__init__()
        sizes = {"student_dim": student_dim, "teacher_dim": teacher_dim, "alpha": alpha}
        for name, value in sizes.items():
            if not value > 0:
                raise Fault(f"ITRD: {name} must be positive, got {value}")
        if not (min(correlation_weight, mutual_weight) >= 0 < correlation_weight + mutual_weight):
            raise Fault(
                "ITRD: correlation_weight and mutual_weight must not be negative, nor both zero,"
                f" got {correlation_weight} and {mutual_weight}"
            )
        self.alpha = alpha
        self.correlation_weight = correlation_weight
        self.mutual_weight = mutual_weight
        self.projects = student_dim != teacher_dim
        self.student_head = nn.Linear(student_dim, teacher_dim)
        shared = self.projects and mutual_weight > 0
        self.student_head.weight.requires_grad_(shared or correlation_weight > 0)
        self.student_head.bias.requires_grad_(shared)
        for name in self.diagnostics:
            self.register_buffer(name, torch.zeros(()), persistent=False)

    def extra_repr(self) -> str:
        """Its settings."""
        return (
            f"alpha={self.alpha}, correlation_weight={self.correlation_weight},"
            f" mutual_weight={self.mutual_weight}"
        )

    @exact
    def forward(self, student: Embedding, teacher: Embedding) -> Scalar:
        """Embeddings (B, width) of both networks to a scalar.

        Raises:
            Fault: the batches differ.
        """
        same_samples("ITRD", student, teacher)
        teacher = teacher.detach()
        projected = self.student_head(student)
        correlation = self._correlation(projected, teacher)
        mutual = _mutual(projected if self.projects else student, teacher)
        if self.training:
            self.correlation.copy_(correlation.detach())
            self.mutual.copy_(mutual.detach())
        # a term of no weight is left out, so that what it alone reaches gets no gradient
        weighted = ((self.correlation_weight, correlation), (self.mutual_weight, mutual))
        return torch.stack([weight * part for weight, part in weighted if weight]).sum()

    def _correlation(self, student: Embedding, teacher: Embedding) -> Scalar:
        correlation_D = (_standardised(student) * _standardised(teacher)).mean(0)
        # at most (B - 1) / B each, by Cauchy and Schwarz: the logarithm has its sum
        return (correlation_D - 1).abs().pow(2 * self.alpha).sum().log2()


def _standardised(embedding: Embedding, eps: float = 1e-5) -> Tensor:
    """Every feature around its mean over the batch, in units of its unbiased deviation."""
    centred_BD = embedding - embedding.mean(0)
    variance_D = centred_BD.square().sum(0) / max(len(embedding) - 1, 1)
    return centred_BD / variance_D.clamp_min(eps**2).sqrt()


def _mutual(student: Embedding, teacher: Embedding) -> Scalar:
    pair = (relations.unit(student.flatten(1)), relations.unit(teacher.flatten(1)))
    traces: tuple[Tensor, ...] = ()
    if not blocks.fit(len(student), len(student)):
        own_B, teachers_B = (each.square().sum(1) for each in pair)
        traces = (own_B.sum(), (own_B * teachers_B).sum())
    return blocks.total(_information, len(student), pair, (*pair, *traces))


def _information(
    student_rows: Tensor,
    teacher_rows: Tensor,
    student_BD: Tensor,
    teacher_BD: Tensor,
    *traces: Tensor,
    eps: float = 1e-12,
) -> Scalar:
    """What some rows add; of all rows the matrices' traces are known, of fewer they are given."""
    student_RB = relations.gram(student_rows, student_BD)
    both_RB = student_RB * relations.gram(teacher_rows, teacher_BD)
    student_trace, both_trace = traces or (student_RB.trace(), both_RB.trace())
    student_RB = student_RB / student_trace.clamp_min(eps)
    both_RB = both_RB / both_trace.clamp_min(eps)
    return (student_RB.square() - both_RB.square()).sum()
