"""EGA, embedding graph alignment (Ma et al., BMVC 2022, arXiv 2211.13264)."""

import torch
from torch import Tensor, nn

from relatum import blocks, relations
from relatum.precision import exact
from relatum.types import Embedding, Fault, Scalar


class EGA(nn.Module):
    r"""Align two graphs of samples: each node with its counterpart, each edge with its own.

    With C the Pearson correlations over features, of the student's embeddings with each other
    (SS), of the teacher's (TT) and of both (TS),

    .. math:: \mathcal L = \nu \, \|C_{TS} - I\|_F + \epsilon \, \|C_{TT} - C_{SS}\|_F

    norms, not their squares, so the loss grows with the batch; and correlated samples of the
    teacher keep the first from vanishing. Where the widths differ, the student's embedding is
    projected linearly to the teacher's width.

    Equal to giakoumoglou/distillers where the widths agree, which that code presumes (6 of the
    benchmark's 13 pairs). It differs in the head for the others; and in that an embedding whose
    features are all alike correlates with nothing (theirs: NaN).

    Args:
        student_dim: width of the student's embedding; may be left out where it is the
            teacher's.
        teacher_dim: width of the teacher's embedding, likewise.
        node_weight: :math:`\nu`; 1 as in the code.
        edge_weight: :math:`\epsilon`; 0.3 as in the code.

    Raises:
        Fault: one width without the other, a width that is not positive, or a negative weight.

    Example:
        >>> bool(EGA(32, 64)(torch.randn(8, 32), torch.randn(8, 64)) > 0)
        True
    """

    relational = True

    def __init__(
        self,
        student_dim: int | None = None,
        teacher_dim: int | None = None,
        node_weight: float = 1.0,
        edge_weight: float = 0.3,
    ) -> None:
        super().__init__()
        if (student_dim is None) != (teacher_dim is None):
            raise Fault(f"EGA: give both widths or none, got {student_dim} and {teacher_dim}")
        for name, width in (("student_dim", student_dim), ("teacher_dim", teacher_dim)):
            if width is not None and not width > 0:
                raise Fault(f"EGA: {name} must be positive, got {width}")
        for name, weight in (("node_weight", node_weight), ("edge_weight", edge_weight)):
            if not weight >= 0:
                raise Fault(f"EGA: {name} must not be negative, got {weight}")
        self.node_weight = node_weight
        self.edge_weight = edge_weight
        self.student_head: nn.Module = nn.Identity()
        if student_dim is not None and teacher_dim is not None and student_dim != teacher_dim:
            self.student_head = nn.Linear(student_dim, teacher_dim)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"node_weight={self.node_weight}, edge_weight={self.edge_weight}"

    @exact
    def forward(self, student: Embedding, teacher: Embedding) -> Scalar:
        """Embeddings (B, width) of both networks to a scalar.

        Raises:
            Fault: the batches differ, or the widths without a head.
        """
        student = self.student_head(student)
        if student.shape != teacher.shape:
            raise Fault(
                f"EGA: compares {tuple(student.shape)} of the student with {tuple(teacher.shape)}"
                " of the teacher; give it the same samples, and the widths where they differ"
            )
        pair = (_centred(student), _centred(teacher.detach()))
        places_B = torch.arange(len(student), device=student.device)
        norms = blocks.each(_norms, len(student), (*pair, places_B), pair)
        # of a norm of norms the gradient is finite at zero, of a root of squares it is not
        whole = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms), dim=0)
        nodes, edges = whole.unbind()
        return self.node_weight * nodes + self.edge_weight * edges


def _norms(
    student_rows: Tensor,
    teacher_rows: Tensor,
    places_R: Tensor,
    student_BD: Tensor,
    teacher_BD: Tensor,
) -> Tensor:
    """Of some rows of both matrices, which sample is which row's own, and all samples."""
    own_RB = places_R[:, None] == torch.arange(len(student_BD), device=places_R.device)
    nodes_RB = teacher_rows @ student_BD.T - own_RB.to(student_BD.dtype)
    edges_RB = teacher_rows @ teacher_BD.T - student_rows @ student_BD.T
    return torch.stack([torch.linalg.vector_norm(nodes_RB), torch.linalg.vector_norm(edges_RB)])


def _centred(embedding: Embedding, eps: float = 1e-6) -> Tensor:
    """Rows of length one around their mean, whose products are correlations; or zero."""
    return relations.unit(embedding - embedding.mean(dim=1, keepdim=True), eps)
