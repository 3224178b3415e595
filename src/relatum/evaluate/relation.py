"""How far a student's samples relate otherwise than its teacher's do.

Everything is computed in float64, where the student's features lie (on the CPU where the device
has no such numbers): activations vary little around a large common mean, and what centring leaves
of their relations would be rounding in float32.

Shape legend: N = samples, D = dimension.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from relatum import relations
from relatum.types import Fault, FeatureMap


def relation_gap(student: FeatureMap, teacher: FeatureMap) -> dict[str, float]:
    r"""How far the student's relation matrices are from the teacher's, one number a kind.

    .. math:: 1 - \frac{\langle \bar A, \bar B \rangle}{\|\bar A\|_F \|\bar B\|_F}

    :math:`\bar A` and :math:`\bar B` are the two N×N matrices, centred (``relations.centred``):
    without that, the cosines of non-negative activations are all near one, and so is the
    similarity of any two networks. 0 means equal up to scale, 1 unrelated; nothing lies
    outside, for all four kinds are positive semi-definite (``distance`` with a minus) once
    centred. A constant student has a gap of 1.

    The kinds are ``cosine``, ``gram`` (this one is :math:`1 - \mathrm{CKA}`), ``distance``, and
    ``gaussian``, the kernel whose :math:`\sigma^2` is the network's own mean squared distance:
    the median heuristic (Gretton et al., 2012), but above zero even when most samples coincide.
    None of them changes with the scale of either network's features, or when they are rotated.

    Trap: N should be well above D. Two unrelated sets of D random features have a gram gap of
    about :math:`1 - D / (D + N)` only, since every sample resembles itself.

    Args:
        student: N samples, which no network was trained on.
        teacher: the same samples in the same order; the dimension may differ.

    Returns:
        The gap by the name of the relation. Time and memory grow with N²: callers take the
        first 2,000 samples, which takes some 300 MB, and 1 to 3 s at 64 to 2,048 dimensions
        (one busy core).

    Raises:
        Fault: the numbers of samples differ, or a feature is not finite.

    Example:
        >>> features = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
        >>> {name: round(gap, 6) for name, gap in relation_gap(3 * features, features).items()}
        {'cosine': 0.0, 'gram': 0.0, 'distance': 0.0, 'gaussian': 0.0}
    """
    pair = _pair(student, teacher)
    if pair is None:
        return dict.fromkeys(_KINDS, 1.0)
    alike = [_alignment(kind(pair[0]), kind(pair[1])) for kind in _KINDS.values()]
    gaps = (1 - torch.stack(alike)).tolist()  # the device is waited for once
    return dict(zip(_KINDS, gaps, strict=True))


def cka(student: FeatureMap, teacher: FeatureMap) -> float:
    r"""Linear centred kernel alignment (Kornblith et al., 2019, equation 5 and section 3).

    .. math:: \frac{\|Y^\top X\|_F^2}{\|X^\top X\|_F \, \|Y^\top Y\|_F}

    :math:`X` and :math:`Y` are the features with their means over the samples taken off. This
    form costs N·D²; with more dimensions than samples the equal one by N×N Gram matrices is
    used. 1 for features that are equal up to rotation and scale; 0 for unrelated ones, and for
    a constant network. With few samples for its dimensions it is too high: see
    ``relation_gap``.

    Args:
        student: N samples. Callers give the first 2,000, so that it goes with the gaps.
        teacher: the same samples in the same order; the dimension may differ.

    Raises:
        Fault: the numbers of samples differ, or a feature is not finite.

    Example:
        >>> features = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
        >>> round(cka(-2 * features + 1, features), 6)
        1.0
    """
    pair = _pair(student, teacher)
    if pair is None:
        return 0.0
    if max(rows.shape[1] for rows in pair) > len(student):
        return float(_alignment(_gram(pair[0]), _gram(pair[1])))
    one_ND, other_ND = (rows - rows.mean(dim=0) for rows in pair)
    shared = (other_ND.T @ one_ND).square().sum()
    own = (one_ND.T @ one_ND).norm() * (other_ND.T @ other_ND).norm()
    return min(float(shared / own), 1.0)


def _gram(rows_ND: Tensor) -> Tensor:
    # Centring the samples centres their products, and loses less than centring these.
    return relations.gram(rows_ND - rows_ND.mean(dim=0))


def _squares(rows_ND: Tensor) -> Tensor:
    """Squared distances of all pairs, by dot products of centred rows.

    ``relations.euclidean`` takes differences, for the sake of close pairs in float32; float64
    loses none that a gap would show, and products are thirty-five times faster at D = 2,048.
    """
    gram_NN = _gram(rows_ND)
    own_N = gram_NN.diagonal()
    return (own_N[:, None] + own_N - 2 * gram_NN).clamp_min(0).fill_diagonal_(0)


def _distance(rows_ND: Tensor) -> Tensor:
    # relations.distance but for its unit, the mean distance, which no gap sees.
    return _squares(rows_ND).sqrt()


def _gaussian(rows_ND: Tensor) -> Tensor:
    squares_NN = _squares(rows_ND)
    mean = squares_NN.sum() / (len(rows_ND) * (len(rows_ND) - 1))
    return torch.exp(-squares_NN / (2 * mean))


_KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "cosine": relations.cosine,
    "gram": _gram,
    "distance": _distance,
    "gaussian": _gaussian,
}


def _pair(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor] | None:
    """Both as rows of float64, or ``None`` where one of them tells no samples apart."""
    if len(student) != len(teacher) or not len(student):
        raise Fault(
            "wanted the student's and the teacher's features of the same samples, came"
            f" {len(student)} and {len(teacher)} of them"
        )
    rows, other_rows = (_rows(each, student.device) for each in (student, teacher))
    looked = (*_look(rows, student.dtype), *_look(other_rows, teacher.dtype))
    finite, constant, other_finite, other_constant = torch.stack(looked).tolist()
    if not (finite and other_finite):
        whose = "teacher" if finite else "student"
        raise Fault(f"the {whose}'s features hold NaN or infinity; did its training diverge?")
    if constant or other_constant:
        return None
    # Squares of very small or very large features would leave float64's range.
    return rows / rows.abs().max(), other_rows / other_rows.abs().max()


def _rows(features: Tensor, device: torch.device) -> Tensor:
    there = features.detach().to("cpu" if device.type == "mps" else device)
    return there.double().flatten(1)


def _look(rows_ND: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Whether all are finite, and whether they tell no samples apart."""
    # What a constant network gives may differ in the last bit from one batch size to another.
    rounding = 8 * torch.finfo(kind).eps * rows_ND.abs().max()
    constant = (rows_ND - rows_ND.mean(dim=0)).abs().max() <= rounding
    return rows_ND.isfinite().all(), constant


def _alignment(one_NN: Tensor, other_NN: Tensor) -> Tensor:
    """The cosine of two centred matrices, in [0, 1]; 0 where centring leaves only rounding."""
    one, other = relations.centred(one_NN), relations.centred(other_NN)
    rounding = (one.norm() <= 1e-12 * one_NN.norm()) | (other.norm() <= 1e-12 * other_NN.norm())
    cosine = (one * other).sum() / (one.norm() * other.norm())
    return torch.where(rounding, 0.0, cosine.clamp(0, 1))
