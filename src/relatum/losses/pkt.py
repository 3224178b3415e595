"""PKT, probabilistic knowledge transfer (Passalis & Tefas, ECCV 2018, arXiv 1803.10837)."""

import torch
from torch import Tensor, nn

from relatum import blocks, relations
from relatum.divergences import same_samples
from relatum.precision import exact
from relatum.types import Embedding, Scalar

EPS = 1e-7
"""The authors' epsilon, on norms and inside the logarithm."""


class PKT(nn.Module):
    r"""Match how likely every sample is to pick each other one as its neighbour.

    .. math::
        \frac{1}{B^2} \sum_{ij} p^T_{ij} \log \frac{p^T_{ij} + \epsilon}{p^S_{ij} + \epsilon},
        \qquad p_{ij} = \frac{(\cos_{ij} + 1)/2}{\sum_k (\cos_{ik} + 1)/2}

    Equal to the authors' code as RepDistiller has it: the diagonal is kept, and it is the mean
    over :math:`B^2` entries, so the benchmark's weight 30,000 is 468.75 on the mean row at
    B = 64 and changes with the batch. It differs at the edges: a zero vector sends no gradient
    (theirs sends one some 1e7 times too large), and opposite samples cannot give NaN.

    Example:
        >>> samples = torch.randn(8, 64)
        >>> PKT()(samples, samples)
        tensor(0.)
    """

    relational = True

    @exact
    def forward(self, student: Embedding, teacher: Embedding) -> Scalar:
        """Embeddings (B, width) of both networks to a scalar."""
        same_samples("PKT", student, teacher)
        pair = (_unit(student), _unit(teacher.detach()))
        return blocks.mean(_divergence, len(student), pair, pair)


def _divergence(
    student_rows: Tensor, teacher_rows: Tensor, student_BD: Tensor, teacher_BD: Tensor
) -> Scalar:
    student_RB = _neighbours(student_rows, student_BD)
    teacher_RB = _neighbours(teacher_rows, teacher_BD)
    return (teacher_RB * ((teacher_RB + EPS) / (student_RB + EPS)).log()).mean()


def _unit(features: Embedding) -> Tensor:
    flat_BD = features.flatten(1)
    norm_B1: Tensor = torch.linalg.vector_norm(flat_BD, dim=1, keepdim=True)
    return flat_BD * (norm_B1 > EPS) / (norm_B1 + EPS)


def _neighbours(rows: Tensor, unit_BD: Tensor) -> Tensor:
    """How likely some samples are to pick each of all."""
    # rounding in float32 may take the cosine of opposite samples below -1
    chance_RB = ((relations.gram(rows, unit_BD) + 1) / 2).clamp_min(0)
    return chance_RB / chance_RB.sum(1, keepdim=True)
