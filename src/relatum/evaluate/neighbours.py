"""Whether a student keeps its teacher's neighbourhoods: asks for no labels.

Shape legend: Q = samples of a block, N = samples, D = dimension, K = neighbours.
"""

import torch
from torch import Tensor

from relatum.evaluate.ranking import blocks, similarities, unit_rows
from relatum.types import Fault, FeatureMap

NEAREST = 10
"""Neighbours of a sample that are compared."""
MUCH = 5.0
"""Percent of them that two networks share by chance from which on it is worth a word."""


def neighbours(
    student: FeatureMap, teacher: FeatureMap, *, nearest: int = NEAREST
) -> dict[str, float]:
    r"""How many of a sample's nearest neighbours are the same to both networks, in percent.

    .. math:: \frac1N \sum_i \frac{|\mathcal N_k^S(i) \cap \mathcal N_k^T(i)|}{k}

    :math:`\mathcal N_k(i)` are the k other samples that are nearest to sample i by cosine; of
    those that are equally near, to the bit, the ones that come first. Two networks that have
    nothing to do with each other share :math:`k / (N - 1)`; so the number hangs on N, and only
    those of the same samples can be compared. Neither scale nor rotation of the features
    changes it.

    Args:
        student: N samples; maps are flattened.
        teacher: the same samples in the same order; the dimension may differ.
        nearest: k, or all others where there are fewer. Time grows with N²; blocks of samples
            are compared with all, so memory does not.

    Returns:
        ``neighbours``, as above, and ``nearest``: how often the sample that is nearest to the
        teacher is among the student's k.

    Raises:
        Fault: the numbers of samples differ or are less than two, or a feature is not finite.

    Example:
        >>> features = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
        >>> neighbours(3 * features, features)
        {'neighbours': 100.0, 'nearest': 100.0}
    """
    if len(student) != len(teacher) or len(student) < 2:
        raise Fault(
            "wanted the student's and the teacher's features of the same samples, two at least,"
            f" came {len(student)} and {len(teacher)} of them"
        )
    if nearest < 1:
        raise Fault(f"wanted one neighbour or more, came nearest={nearest}")
    count = min(nearest, len(student) - 1)
    ours_ND = unit_rows(student, "the student's features")
    theirs_ND = unit_rows(teacher.to(student.device), "the teacher's features")
    shared = torch.zeros(2, dtype=torch.long, device=student.device)
    for rows in blocks(len(student), len(student)):
        ours_QK, theirs_QK = (_nearest(each, rows, count) for each in (ours_ND, theirs_ND))
        same_QKK = ours_QK[:, :, None] == theirs_QK[:, None, :]
        shared += torch.stack([same_QKK.sum(), same_QKK[:, :, 0].sum()])
    both, first = shared.tolist()  # the device is waited for once
    total = len(student)
    return {"neighbours": 100 * both / (total * count), "nearest": 100 * first / total}


def by_chance(samples: int, *, nearest: int = NEAREST) -> float:
    """What two networks share that have nothing to do with each other, in percent.

    Example:
        >>> round(by_chance(18), 1), round(by_chance(2000), 1)
        (58.8, 0.5)
    """
    others = max(samples - 1, 1)
    return 100 * min(nearest, others) / others


def _nearest(rows_ND: Tensor, rows: slice, count: int) -> Tensor:
    """The places of those nearest to some of the samples, themselves left out, nearest first."""
    similarity_QN = similarities(rows_ND[rows], rows_ND)
    own = torch.arange(rows.start, rows.stop, device=rows_ND.device)
    similarity_QN.scatter_(1, own[:, None], -2.0)
    near = similarity_QN.topk(min(count + 1, len(rows_ND)), dim=1)
    if not bool((near.values[:, 1:] == near.values[:, :-1]).any()):
        return near.indices[:, :count]
    # topk takes any of those that are equal; a stable sort, ten times as slow, the first
    return similarity_QN.sort(dim=1, descending=True, stable=True).indices[:, :count]
