"""LP, locality-preserving distillation (Chen et al. 2018/2020, arXiv 1812.06597)."""

from typing import Literal

import torch
from torch import Tensor, nn

from relatum import blocks, relations
from relatum.divergences import same_samples
from relatum.precision import exact
from relatum.types import Embedding, Fault, Scalar


class LP(nn.Module):
    r"""Keep close to each other the samples that are neighbours to the teacher.

    .. math::
        \frac1k \sum_i \sum_{j \in N_k(i)} \alpha_{ij} \|S_i - S_j\|^2,
        \qquad \alpha_{ij} = \exp(-\|T_i - T_j\|^2 / \sigma^2)

    with :math:`N_k(i)` the k other samples nearest to i in the teacher's batch. It is a *sum*
    over the batch, so its weight grows with B, and a constant student minimises it: it needs a
    task or soft targets beside it (the rrkd notebook uses 1.5 · LP + CE + 2 · KD at T = 1).

    As in the rrkd notebook, from which the settings come (the paper's own were not checked),
    but the sample itself is left out by its place, not by dropping the first of the sorted
    column, which drops a duplicate's neighbour instead. There :math:`\sigma = 1` on 512
    features makes every :math:`\alpha` underflow and the loss exactly 0; ``sigma="median"``
    takes the median distance to a neighbour, and ``mean_weight``, the mean :math:`\alpha` of
    the last training step, is kept for the log.

    Args:
        neighbours: k; 5 as in the notebook. A batch of fewer than k + 1 uses all others.
        sigma: the width, in the units of the teacher's features; 1 as in the notebook, or
            ``"median"``.
        batch_invariant: divide by the batch size, so that the value does not grow with it.

    Raises:
        Fault: ``neighbours`` or ``sigma`` that is not positive, or a fraction of a neighbour.

    Example:
        >>> bool(LP(sigma="median")(torch.randn(8, 32), torch.randn(8, 64)) > 0)
        True
    """

    relational = True
    diagnostics = ("mean_weight",)
    mean_weight: Tensor

    def __init__(
        self,
        neighbours: int = 5,
        sigma: float | Literal["median"] = 1.0,
        batch_invariant: bool = False,
    ) -> None:
        super().__init__()
        if not (isinstance(neighbours, int) and neighbours > 0):
            raise Fault(f"LP: neighbours must be a positive whole number, got {neighbours}")
        if isinstance(sigma, str) and sigma != "median":
            raise Fault(f"LP: sigma is a number or 'median', got {sigma!r}")
        if not isinstance(sigma, str) and not sigma > 0:
            raise Fault(f"LP: sigma must be positive, got {sigma}")
        self.neighbours = neighbours
        self.sigma = sigma
        self.batch_invariant = batch_invariant
        self.register_buffer("mean_weight", torch.zeros(()), persistent=False)

    def extra_repr(self) -> str:
        """Its settings."""
        return (
            f"neighbours={self.neighbours}, sigma={self.sigma!r},"
            f" batch_invariant={self.batch_invariant}"
        )

    @exact
    def forward(self, student: Embedding, teacher: Embedding) -> Scalar:
        """Embeddings (B, width) of both networks to a scalar.

        Raises:
            Fault: the batches differ.
        """
        same_samples("LP", student, teacher)
        near_BN, neighbours_BN = self._neighbours(teacher.detach())
        weight_BN = torch.exp(-near_BN.square() / self._squared_width(near_BN))
        if self.training:
            self.mean_weight.copy_(weight_BN.mean() if weight_BN.numel() else weight_BN.sum())
        rows = (student, neighbours_BN, weight_BN)
        apart = blocks.total(_apart, relations.held(student), rows, (student,))
        loss = apart / max(neighbours_BN.shape[1], 1)
        return loss / len(student) if self.batch_invariant else loss

    def _neighbours(self, teacher: Embedding) -> tuple[Tensor, Tensor]:
        """How far the nearest others are from every sample, and which they are."""
        places_B = torch.arange(len(teacher), device=teacher.device)
        count = min(self.neighbours, len(teacher) - 1)
        found = []
        for rows, own_R in blocks.split(len(teacher), teacher, places_B):
            distance_RB = relations.euclidean(rows, teacher)
            others_RB = distance_RB.masked_fill(own_R[:, None] == places_B, torch.inf)
            found.append(others_RB.topk(count, dim=1, largest=False))
        return torch.cat([each.values for each in found]), torch.cat([e.indices for e in found])

    def _squared_width(self, near_BN: Tensor) -> float | Tensor:
        if isinstance(self.sigma, str):
            return near_BN.median().square().clamp_min(1e-12) if near_BN.numel() else 1.0
        return self.sigma**2


def _apart(
    student_rows: Tensor, neighbours_RN: Tensor, weight_RN: Tensor, student: Tensor
) -> Tensor:
    distance_RB = relations.euclidean(student_rows, student)
    return (weight_RN * distance_RB.gather(1, neighbours_RN).square()).sum()
