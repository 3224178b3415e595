"""RKD, relational knowledge distillation (Park et al., CVPR 2019, arXiv 1904.05068)."""

import torch
from torch import Tensor, nn

from relatum import blocks, memory, relations
from relatum.divergences import huber, same_samples
from relatum.precision import exact
from relatum.types import Embedding, Fault, Scalar

CLOSE = 1e-6
"""Pairs closer than this are this far apart, as in ``relations.distance``."""


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

    @exact
    def forward(self, student: Embedding, teacher: Embedding) -> Scalar:
        """Embeddings (B, width) of both networks to a scalar."""
        same_samples("RKD", student, teacher)
        pair = (student, teacher.detach())
        entries = max(map(relations.held, pair))
        if blocks.fit(entries, len(student)):
            return huber(*map(relations.distance, pair))
        places_B = torch.arange(len(student), device=student.device)
        means = map(_mean, pair)
        return blocks.mean(_distances_apart, entries, (*pair, places_B), (*pair, *means))


def _mean(samples: Embedding) -> Scalar:
    """The mean distance of all pairs, as in ``relations.distance``."""
    pairs = len(samples) * (len(samples) - 1)
    rows = (samples, torch.arange(len(samples), device=samples.device))
    summed = blocks.total(_summed, relations.held(samples), rows, (samples,))
    return (summed / pairs).clamp_min(CLOSE)


def _summed(rows: Tensor, places_R: Tensor, samples: Tensor) -> Scalar:
    return _distances(rows, places_R, samples).sum()


def _distances(rows: Tensor, places_R: Tensor, samples: Tensor) -> Tensor:
    """Distances of some samples from all, none of them from itself."""
    other_RB = places_R[:, None] != torch.arange(len(samples), device=places_R.device)
    return relations.euclidean(rows, samples).clamp_min(CLOSE) * other_RB


def _distances_apart(
    student_rows: Tensor,
    teacher_rows: Tensor,
    places_R: Tensor,
    student: Tensor,
    teacher: Tensor,
    student_mean: Scalar,
    teacher_mean: Scalar,
) -> Scalar:
    return huber(
        _distances(student_rows, places_R, student) / student_mean,
        _distances(teacher_rows, places_R, teacher) / teacher_mean,
    )


class RKDAngle(nn.Module):
    r"""Match the angles of all triplets.

    .. math::
        \frac{1}{B^3} \sum_{ijk} \ell_\delta(\cos \angle t_j t_i t_k,\; \cos \angle s_j s_i s_k)

    Equation 7 to 9 of the paper with the Huber loss; the mean counts the degenerate triplets,
    as the authors' code does. Time is cubic in the batch, and so is memory until the triplets
    are too many to be held at once and are taken in blocks.

    With ``triplets`` the mean is over that many triplets (i, j, k), each drawn uniformly and
    with repetition out of all :math:`B^3`, the degenerate ones included: so value and gradient
    are unbiased for those of the full mean, at a cost that does not grow with the batch. Every
    training step has another draw, the same in all processes; evaluation repeats the next one's.

    Args:
        triplets: how many are drawn a step; ``None`` takes all.
        seed: of the draws; drawn from torch's generator where it is ``None``.

    Raises:
        Fault: ``triplets`` is not a positive whole number, a seed is out of range or has no
            triplets to draw, or the batches differ.

    Example:
        >>> import torch
        >>> samples = torch.randn(8, 64)
        >>> RKDAngle()(3 * samples, samples) < 1e-6
        tensor(True)
    """

    relational = True

    key: Tensor

    def __init__(self, triplets: int | None = None, seed: int | None = None) -> None:
        super().__init__()
        if triplets is not None and not (isinstance(triplets, int) and triplets > 0):
            raise Fault(f"RKD: triplets must be a positive whole number or None, got {triplets}")
        if seed is not None and triplets is None:
            raise Fault(f"RKD: seed {seed} draws triplets: say how many, or leave the seed out")
        if seed is not None and not 0 <= seed < 2**31:
            raise Fault(f"RKD: a seed is an integer from 0 to 2**31 - 1, got {seed}")
        self.triplets = triplets
        if triplets is not None:
            source = None if seed is None else torch.Generator().manual_seed(seed)
            self.register_buffer("key", torch.randint(2**31, (), generator=source))

    def extra_repr(self) -> str:
        """Its setting."""
        return f"triplets={self.triplets}"

    @exact
    def forward(self, student: Embedding, teacher: Embedding) -> Scalar:
        """Embeddings (B, width) of both networks to a scalar."""
        same_samples("RKD", student, teacher)
        pair = (student, teacher.detach())
        widest = max(each.flatten(1).shape[1] for each in pair)
        if self.triplets is None:
            batch = len(student)
            return blocks.mean(_angles_apart, batch * max(batch, widest), pair, pair)
        drawn_T3 = memory.integers(self.triplets, 3, len(student), self.key)
        if self.training:
            self.key += 1
        return blocks.mean(_chosen_apart, 3 * widest, (drawn_T3,), pair)


def _angles_apart(
    student_rows: Tensor, teacher_rows: Tensor, student: Tensor, teacher: Tensor
) -> Scalar:
    return huber(relations.angle(student, student_rows), relations.angle(teacher, teacher_rows))


def _chosen_apart(triplets_R3: Tensor, student: Tensor, teacher: Tensor) -> Scalar:
    return huber(
        relations.chosen_angles(student, triplets_R3), relations.chosen_angles(teacher, triplets_R3)
    )


class RKD(nn.Module):
    """Distances and angles together: a weighted sum, equal to RepDistiller's code.

    Args:
        distance_weight: 25 as in the benchmark (RepDistiller).
        angle_weight: 50 likewise.
        triplets: of how many triplets the angles are taken, drawn anew each step; all when
            ``None`` (see ``RKDAngle``).
        seed: of the draws; drawn from torch's generator where it is ``None``.

    Raises:
        Fault: a negative weight, or ``triplets`` or ``seed`` as for ``RKDAngle``.
    """

    relational = True

    def __init__(
        self,
        distance_weight: float = 25.0,
        angle_weight: float = 50.0,
        triplets: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        for name, weight in (("distance_weight", distance_weight), ("angle_weight", angle_weight)):
            if not weight >= 0:
                raise Fault(f"RKD: {name} must not be negative, got {weight}")
        self.distance_weight = distance_weight
        self.angle_weight = angle_weight
        self.distance, self.angle = RKDDistance(), RKDAngle(triplets, seed)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"distance_weight={self.distance_weight}, angle_weight={self.angle_weight}"

    @exact
    def forward(self, student: Embedding, teacher: Embedding) -> Scalar:
        """Embeddings (B, width) of both networks to a scalar."""
        distance: Scalar = self.distance_weight * self.distance(student, teacher)
        angle: Scalar = self.angle_weight * self.angle(student, teacher)
        return distance + angle
