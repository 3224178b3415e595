"""RKD, relational knowledge distillation (Park et al., CVPR 2019, arXiv 1904.05068)."""

from torch import nn

from relatum import relations
from relatum.divergences import huber
from relatum.precision import exact
from relatum.types import Embedding, Fault, Scalar


class RKDDistance(nn.Module):
    r"""Match the distances of all pairs, each network's in units of its own mean.

    .. math:: \frac{1}{B^2} \sum_{ij} \ell_\delta(d_{ij}^T / \mu_T,\; d_{ij}^S / \mu_S)

    Equation 4 to 6 of the paper with the Huber loss; the mean counts the zero diagonal, as the
    authors' code does (lenscloth/RKD). Coinciding samples send no gradient.

    Example:
        >>> import torch
        >>> samples = torch.randn(8, 64)
        >>> RKDDistance()(3 * samples, samples) < 1e-6
        tensor(True)
    """

    relational = True

    def forward(self, student: Embedding, teacher: Embedding) -> Scalar:
        """Embeddings (B, width) of both networks to a scalar."""
        return huber(relations.distance(student), relations.distance(teacher.detach()))


class RKDAngle(nn.Module):
    r"""Match the angles of all triplets.

    .. math::
        \frac{1}{B^3} \sum_{ijk} \ell_\delta(\cos \angle t_j t_i t_k,\; \cos \angle s_j s_i s_k)

    Equation 7 to 9 of the paper with the Huber loss; the mean counts the degenerate triplets,
    as the authors' code does. Memory and time are cubic in the batch.

    Example:
        >>> import torch
        >>> samples = torch.randn(8, 64)
        >>> RKDAngle()(3 * samples, samples) < 1e-6
        tensor(True)
    """

    relational = True

    def forward(self, student: Embedding, teacher: Embedding) -> Scalar:
        """Embeddings (B, width) of both networks to a scalar."""
        return huber(relations.angle(student), relations.angle(teacher.detach()))


class RKD(nn.Module):
    """Distances and angles together: a weighted sum, equal to RepDistiller's code.

    Args:
        distance_weight: 25 as in the benchmark (RepDistiller).
        angle_weight: 50 likewise.

    Raises:
        Fault: a negative weight.
    """

    relational = True

    def __init__(self, distance_weight: float = 25.0, angle_weight: float = 50.0) -> None:
        super().__init__()
        for name, weight in (("distance_weight", distance_weight), ("angle_weight", angle_weight)):
            if not weight >= 0:
                raise Fault(f"RKD: {name} must not be negative, got {weight}")
        self.distance_weight = distance_weight
        self.angle_weight = angle_weight
        self.distance, self.angle = RKDDistance(), RKDAngle()

    def extra_repr(self) -> str:
        """Its settings."""
        return f"distance_weight={self.distance_weight}, angle_weight={self.angle_weight}"

    @exact
    def forward(self, student: Embedding, teacher: Embedding) -> Scalar:
        """Embeddings (B, width) of both networks to a scalar."""
        distance: Scalar = self.distance_weight * self.distance(student, teacher)
        angle: Scalar = self.angle_weight * self.angle(student, teacher)
        return distance + angle
