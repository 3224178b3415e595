"""RRKD, distillation with relative representations (Ramos, Alampay, Abu, CORES 2023)."""

from difflib import get_close_matches
from typing import Literal

from torch import Tensor, nn

from relatum import blocks, relations
from relatum.divergences import cross_entropy, row_cosine, same_samples, squared
from relatum.precision import exact
from relatum.types import Embedding, Fault, Scalar

KINDS = ("cos", "mse", "sce")


class RRKD(nn.Module):
    r"""Match how every sample relates to a set of anchors.

    The relative representation of x is its cosine to each of K anchors,
    :math:`r(x)_k = \cos(f(x), f(a_k))` (Moschella et al., ICLR 2023): widths may differ, and
    no projection is learnt. The student's is drawn to the teacher's by

    - ``cos``: :math:`-\frac1B \sum_i \log(\frac{\cos(r_S^i, r_T^i) + 1}{2} + \epsilon)`
    - ``mse``: :math:`\frac{1}{BK} \sum_{ik} (r_S^{ik} - r_T^{ik})^2`
    - ``sce``: :math:`-\frac1B \sum_i \sigma(r_T^i / 2) \cdot \log \sigma(r_S^i / 2)`

    Without anchors the batch is its own: K = B, and the diagonal of ones stays. At equal
    weight this is SP on cosines, with a gradient B/4 times as large. Fixed anchors are images
    that the student encodes anew at every step (``Distiller(anchors=...)``).

    Equal to the authors' notebook where that is defined. It divides by norms without an
    epsilon, so a zero vector gives NaN there; here it relates to nothing and sends no
    gradient. What the notebook does around the loss (a head that never trains, a teacher that
    goes back to training mode) is not part of it.

    Args:
        kind: ``"cos"`` (the only one in the paper's experiments), ``"mse"`` or ``"sce"``.
        eps: inside the logarithm of ``cos``; 1e-8 is the authors'.

    Raises:
        Fault: an unknown kind, or an ``eps`` that is not positive.

    Example:
        >>> import torch
        >>> student, teacher = torch.randn(8, 32), torch.randn(8, 64)
        >>> bool(RRKD()(student, teacher) > 0)
        True
    """

    relational = True

    def __init__(self, kind: Literal["cos", "mse", "sce"] = "cos", eps: float = 1e-8) -> None:
        super().__init__()
        if kind not in KINDS:
            near = get_close_matches(str(kind), KINDS, n=1, cutoff=0) or KINDS
            raise Fault(f"RRKD has the kinds {', '.join(KINDS)}, got {kind!r}; nearest: {near[0]}")
        if not eps > 0:
            raise Fault(f"eps must be positive, got {eps}")
        self.kind = kind
        self.eps = eps

    def extra_repr(self) -> str:
        """Its settings."""
        return f"kind={self.kind!r}, eps={self.eps}"

    @exact
    def forward(
        self,
        student: Embedding,
        teacher: Embedding,
        student_anchors: Embedding | None = None,
        teacher_anchors: Embedding | None = None,
    ) -> Scalar:
        """Embeddings (B, width) to a scalar; anchors are embeddings (K, width) of K images.

        Raises:
            Fault: the batches differ, or one network has anchors and the other has none.
        """
        if (student_anchors is None) != (teacher_anchors is None):
            raise Fault("RRKD needs the anchors of both networks, or of neither")
        same_samples("RRKD", student, teacher)
        rows = (_unit(student), _unit(teacher.detach()))
        anchors = rows
        if student_anchors is not None and teacher_anchors is not None:
            same_samples("RRKD", student_anchors, teacher_anchors, "anchors")
            anchors = (_unit(student_anchors), _unit(teacher_anchors.detach()))
        return blocks.mean(self._apart, len(anchors[0]), rows, anchors)

    def _apart(
        self, student: Tensor, teacher: Tensor, student_anchors: Tensor, teacher_anchors: Tensor
    ) -> Scalar:
        """The loss of some samples, all of length one."""
        relative_student = relations.gram(student, student_anchors)
        relative_teacher = relations.gram(teacher, teacher_anchors)
        if self.kind == "mse":
            return squared(relative_student, relative_teacher)
        if self.kind == "sce":
            return cross_entropy(relative_student / 2, relative_teacher / 2)
        cosine = row_cosine(relative_student, relative_teacher, eps=1e-8)
        return -(cosine / 2 + 0.5 + self.eps).log().mean()


def _unit(embedding: Embedding) -> Tensor:
    return relations.unit(embedding.flatten(1))
