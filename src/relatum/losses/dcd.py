"""DCD, discriminative and consistent representation distillation.

Giakoumoglou & Stathaki, arXiv 2407.11802.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatum import blocks, relations
from relatum.divergences import same_samples
from relatum.precision import exact
from relatum.types import Embedding, Fault, Scalar


class DCD(nn.Module):
    r"""Find each sample's counterpart in the batch, and agree on it from both sides.

    Both embeddings are projected linearly to ``dim`` and scaled to unit length. With
    :math:`\ell = \min(e^s, 10) \, z_S z_T^\top + b`, rows the student's,

    .. math::
        \mathcal L = \frac1B \sum_i \Big[ -\ln \sigma(\ell_{i\cdot})_i
        + \lambda \, \mathrm{KL}\big(\sigma(\ell_{\cdot i}) \,\|\, \sigma(\ell_{i\cdot})\big)
        \Big]

    contrastive within the batch, without a memory, and consistent: the teacher's choice among
    the students shall be the student's among the teachers. A gradient flows through both.

    Equal to the authors' code (giakoumoglou/distillers), whose scale and shift their script
    for ImageNet leaves out of the optimiser. It differs in that the shift b, which cancels in
    both soft-maxes and so never gets a gradient, is declared frozen.

    Args:
        student_dim: width of the student's embedding.
        teacher_dim: width of the teacher's embedding.
        dim: width of both projections; 128 as published. Both heads learn.
        consistency_weight: :math:`\lambda`; 0.5 as in the code.

    Raises:
        Fault: a width that is not positive, or a negative weight.

    Example:
        >>> bool(DCD(32, 64)(torch.randn(8, 32), torch.randn(8, 64)) > 0)
        True
    """

    relational = True

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        dim: int = 128,
        consistency_weight: float = 0.5,
    ) -> None:
        super().__init__()
        sizes = {"student_dim": student_dim, "teacher_dim": teacher_dim, "dim": dim}
        for name, value in sizes.items():
            if not value > 0:
                raise Fault(f"DCD: {name} must be positive, got {value}")
        if not consistency_weight >= 0:
            raise Fault(f"DCD: consistency_weight must not be negative, got {consistency_weight}")
        self.consistency_weight = consistency_weight
        self.student_head = nn.Linear(student_dim, dim)
        self.teacher_head = nn.Linear(teacher_dim, dim)
        self.log_scale = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(()), requires_grad=False)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"consistency_weight={self.consistency_weight}"

    @exact
    def forward(self, student: Embedding, teacher: Embedding) -> Scalar:
        """Embeddings (B, width) of both networks to a scalar.

        Raises:
            Fault: the batches differ.
        """
        same_samples("DCD", student, teacher)
        student_BD = relations.unit(self.student_head(student))
        teacher_BD = relations.unit(self.teacher_head(teacher.detach()))
        pair = (student_BD, teacher_BD)
        places_B = torch.arange(len(student), device=student.device)
        scale = self.log_scale.exp().clamp_max(10)
        whole = (*pair, scale, self.bias)
        return blocks.mean(self._both_sides, len(student), (*pair, places_B), whole)

    def _both_sides(
        self,
        student_rows: Tensor,
        teacher_rows: Tensor,
        places_R: Tensor,
        student_BD: Tensor,
        teacher_BD: Tensor,
        scale: Tensor,
        bias: Tensor,
    ) -> Scalar:
        """The loss of some samples, among all of them."""
        logits_RB = scale * (student_rows @ teacher_BD.T) + bias
        by_student_RB = F.log_softmax(logits_RB, dim=1)
        if len(student_rows) == len(student_BD):
            turned_RB, own_R = logits_RB.T, by_student_RB.diagonal()
        else:
            turned_RB = scale * (teacher_rows @ student_BD.T) + bias
            own_R = by_student_RB.gather(1, places_R[:, None])
        by_teacher_RB = F.log_softmax(turned_RB, dim=1)
        contrast = -own_R.mean()
        consistency = F.kl_div(by_student_RB, by_teacher_RB, reduction="batchmean", log_target=True)
        return contrast + self.consistency_weight * consistency
