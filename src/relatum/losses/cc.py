"""CC, correlation congruence (Peng et al., ICCV 2019, arXiv 1904.01802)."""

import math
from typing import Literal

from torch import Tensor, nn

from relatum import blocks, divergences, relations
from relatum.precision import exact
from relatum.types import Embedding, Fault, Scalar


class CC(nn.Module):
    r"""Match how samples correlate: by the paper's kernel, or as the benchmark has it.

    ``kind="adjacent"`` is what RepDistiller ran under this name, and what its table shows: with
    the embeddings projected linearly to one width, :math:`\delta_i = |e_S^i - e_T^i|`,

    .. math:: \mathcal L = \frac{1}{B-1} \sum_i \langle \delta_i, \delta_{i+1} \rangle

    over neighbours in the batch: it hangs on the order of the samples, has no kernel, and both
    heads learn, so it can shrink by making both of them small. ``kind="rbf"`` is the paper's
    loss, the mean squared difference of two B×B kernels of unit rows,

    .. math::
        \kappa(x, y) = e^{-2\gamma} \sum_{p=0}^{P} \frac{(2\gamma)^p}{p!} (\hat x \cdot \hat y)^p

    the Taylor expansion of a Gaussian kernel. Without widths the embeddings are compared as
    they are, which for ``"adjacent"`` must be of one width.

    Equal to HobbitLong/RepDistiller (adjacent) and to AberHu/Knowledge-Distillation-Zoo (rbf;
    the authors published none), which has no heads. It differs for a batch of one, of which
    adjacent is zero and theirs undefined. Without heads adjacent sends a gradient to the
    teacher's embedding too, as there, for a head of your own.

    Args:
        student_dim: width of the student's embedding, to have heads.
        teacher_dim: width of the teacher's embedding, likewise.
        dim: width of both projections; 128 as in RepDistiller.
        kind: ``"adjacent"`` or ``"rbf"``.
        gamma: :math:`\gamma` of rbf; 0.4 as published.
        order: P of rbf; 2 as published.

    Raises:
        Fault: an unknown kind, one width without the other, or a number out of range.

    Example:
        >>> import torch
        >>> student, teacher = torch.randn(8, 32), torch.randn(8, 64)
        >>> bool(CC(32, 64)(student, teacher) > 0)
        True
        >>> bool(CC(kind="rbf")(student, teacher) > 0)
        True
    """

    relational = True

    def __init__(
        self,
        student_dim: int | None = None,
        teacher_dim: int | None = None,
        dim: int = 128,
        kind: Literal["adjacent", "rbf"] = "adjacent",
        gamma: float = 0.4,
        order: int = 2,
    ) -> None:
        super().__init__()
        if kind not in ("adjacent", "rbf"):
            raise Fault(f"CC: kind is 'adjacent' or 'rbf', got {kind!r}")
        if (student_dim is None) != (teacher_dim is None):
            raise Fault(f"CC: give both widths or none, got {student_dim} and {teacher_dim}")
        for name, value in (
            ("student_dim", student_dim),
            ("teacher_dim", teacher_dim),
            ("dim", dim),
            ("gamma", gamma),
            ("order", order),
        ):
            if value is not None and not value > 0:
                raise Fault(f"CC: {name} must be positive, got {value}")
        self.kind = kind
        self.gamma = gamma
        self.order = order
        self.student_head = _head(student_dim, dim)
        self.teacher_head = _head(teacher_dim, dim)
        self.embedded = student_dim is None

    def extra_repr(self) -> str:
        """Its settings."""
        rbf = f", gamma={self.gamma}, order={self.order}" if self.kind == "rbf" else ""
        return f"kind={self.kind!r}{rbf}"

    @exact
    def forward(self, student: Embedding, teacher: Embedding) -> Scalar:
        """Embeddings (B, width) of both networks to a scalar.

        Raises:
            Fault: the batches differ, or what adjacent compares differs in width.
        """
        divergences.same_samples("CC", student, teacher)
        if self.kind == "rbf" or not self.embedded:
            teacher = teacher.detach()
        student, teacher = self.student_head(student), self.teacher_head(teacher)
        if self.kind == "rbf":
            pair = (relations.unit(student.flatten(1)), relations.unit(teacher.flatten(1)))
            return blocks.mean(self._apart, len(student), pair, pair)
        divergences.same(student, teacher)
        apart_BD = (student - teacher).flatten(1).abs()
        return (apart_BD[:-1] * apart_BD[1:]).sum() / max(len(apart_BD) - 1, 1)

    def _apart(
        self, student_rows: Tensor, teacher_rows: Tensor, student_BD: Tensor, teacher_BD: Tensor
    ) -> Scalar:
        student_RB = self._kernel(student_rows, student_BD)
        return divergences.squared(student_RB, self._kernel(teacher_rows, teacher_BD))

    def _kernel(self, rows: Tensor, unit_BD: Tensor) -> Tensor:
        cosine_RB = relations.gram(rows, unit_BD)
        scale = math.exp(-2 * self.gamma)
        terms = [
            scale * (2 * self.gamma) ** power / math.factorial(power) * cosine_RB**power
            for power in range(1, self.order + 1)  # that of power 0 is the same for both
        ]
        return sum(terms[1:], terms[0])


def _head(width: int | None, dim: int) -> nn.Module:
    return nn.Identity() if width is None else nn.Linear(width, dim)
