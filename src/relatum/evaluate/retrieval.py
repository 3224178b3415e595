"""How well an embedding ranks samples by class: nothing is fitted, and no classifier is needed.

Shape legend: Q = queries of a block, N = samples of the gallery, D = dimension.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from relatum.evaluate.ranking import blocks, similarities, unit_rows
from relatum.types import Fault, FeatureMap, Labels

DEEP = 10
"""Ranks of the cumulative match curve."""
JUNK = -1
"""The label of what is in a gallery and neither right nor wrong, as in Market-1501."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What a ranking found, in percent.

    Attributes:
        mean_average_precision: over the whole ranking, mAP.
        mean_average_precision_at_r: of the first R only, where R is how many there are to be
            found, mAP@R.
        matches: the cumulative match characteristic: at place k - 1 the share of queries that
            have one of their class among the k nearest.
        queries: how many were asked; those whose class is nowhere in the gallery are not.
    """

    mean_average_precision: float
    mean_average_precision_at_r: float
    matches: tuple[float, ...]
    queries: int

    def recall(self, nearest: int) -> float:
        """Recall@k as metric learning has it: a match among the k nearest, CMC(k)."""
        return self.matches[min(nearest, len(self.matches)) - 1]


@dataclass(frozen=True, slots=True)
class Gallery:
    """What is searched, where it is not the queries themselves.

    Attributes:
        features: N samples.
        labels: their classes; -1 for junk, which is left out of every ranking.
        cameras: who took each, where what the query's own camera saw of its class is left out.
    """

    features: FeatureMap
    labels: Labels
    cameras: Labels | None = None


def retrieval(
    queries: FeatureMap,
    labels: Labels,
    gallery: Gallery | None = None,
    *,
    cameras: Labels | None = None,
    deep: int = DEEP,
) -> Retrieval:
    r"""Rank a gallery by cosine to every query, and see where those of its class stand.

    .. math:: \mathrm{AP} = \frac1R \sum_{i=1}^{R} \frac{i}{\mathrm{rank}_i}, \qquad
       \mathrm{AP@R} = \frac1R \sum_{i:\, \mathrm{rank}_i \le R} \frac{i}{\mathrm{rank}_i}

    :math:`\mathrm{rank}_i` is where the i-th of the R samples of the query's class stands: the
    area under the precision–recall curve as a sum of steps, not interpolated (what scikit-learn
    calls average precision; the code of Market-1501 takes trapezia instead, which is a little
    more). AP@R is Musgrave et al.'s (2020, section 3.2). Both are means over queries.

    Without a gallery every sample is asked for among all others (leave one out). **Of samples
    that are equally near, to the bit, those of other classes come first**, so that a network that
    says the same of all gets no credit for the order in which they were stored. Similarities
    are float32.

    Blocks of queries meet the whole gallery, so at most 2²² similarities are held at a time.
    10,000 samples of 64 dimensions take some 20 s on one core, and time grows with N².

    Args:
        queries: samples to ask for; maps are flattened. It runs where they lie.
        labels: their classes, from 0.
        gallery: what is searched; the queries themselves where none is given.
        cameras: who took each query. Of the gallery, what has the query's class *and* camera
            is then left out, as in re-identification.
        deep: ranks of the match curve.

    Raises:
        Fault: shapes do not fit, features are not finite, only one of both sides has cameras,
            or no query has one of its class to find.

    Example:
        >>> features = torch.tensor([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0], [0.2, 1.0]])
        >>> found = retrieval(features, torch.tensor([0, 0, 1, 1]))
        >>> found.mean_average_precision, found.recall(1)
        (100.0, 100.0)
    """
    own = gallery is None
    gallery = gallery or Gallery(queries, labels, cameras)
    _check(queries, labels, cameras, gallery, deep)
    device = queries.device
    asked_ND, searched_ND = (
        unit_rows(each.to(device), "the features") for each in (queries, gallery.features)
    )
    labels, kinds = labels.to(device), gallery.labels.to(device)
    sums = torch.zeros(deep + 3, dtype=torch.float64, device=device)
    for rows in blocks(len(queries), len(kinds)):
        same_QN = labels[rows, None] == kinds
        left_QN = (kinds == JUNK).expand_as(same_QN)
        if gallery.cameras is not None and cameras is not None:
            taken_QN = cameras.to(device)[rows, None] == gallery.cameras.to(device)
            left_QN = left_QN | (taken_QN & same_QN)
        if own:
            places = torch.arange(rows.start, rows.stop, device=device)
            left_QN = left_QN.scatter(1, places[:, None], value=True)
        sums += _found(similarities(asked_ND[rows], searched_ND), same_QN, left_QN, deep)
    told: list[float] = sums.tolist()  # the device is waited for once
    count = round(told[0])
    if not count:
        raise Fault("no query has another sample of its class to find; is every class alone?")
    mean = [100 * each / count for each in told[1:]]
    return Retrieval(mean[0], mean[1], tuple(mean[2:]), count)


def _found(similarity_QN: Tensor, same_QN: Tensor, left_QN: Tensor, deep: int) -> Tensor:
    """How many queries have something to find; the sums of AP, of AP@R, and of matches."""
    similarity_QN = similarity_QN.masked_fill(left_QN, -2.0)  # behind all others
    hit_QN = _ranked(similarity_QN, same_QN & ~left_QN)
    query, place = hit_QN.nonzero(as_tuple=True)
    wanted_Q = hit_QN.sum(dim=1)
    first_Q = wanted_Q.cumsum(0) - wanted_Q
    number = torch.arange(1, len(query) + 1, device=query.device) - first_Q[query]
    share = number.double() / ((place + 1) * wanted_Q[query])
    near = place[number == 1]
    ranks = torch.arange(1, deep + 1, device=query.device)
    sums = (wanted_Q.gt(0).sum(), share.sum(), share[place < wanted_Q[query]].sum())
    return torch.cat(
        [torch.stack([each.double() for each in sums]), (near[:, None] < ranks).sum(0)]
    )


def _ranked(similarity_QN: Tensor, right_QN: Tensor) -> Tensor:
    """Where the right ones stand when all are sorted, the others first where they are equal.

    A float's bits, read as a whole number, sort as it does (below zero the other way round). Those
    below 2 leave one bit free, which holds who goes first: so what is sorted is one number each.
    """
    bits = (similarity_QN + 0.0).view(torch.int32)  # and no negative zero
    key = (torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits) << 1) | ~right_QN
    if key.is_cuda:
        return key.sort(dim=1, descending=True).values & 1 == 0
    # numpy's sort of whole numbers is twenty times as fast as torch's on a processor
    key = torch.from_numpy(np.sort(key.cpu().numpy(), axis=1)).to(right_QN.device)
    return key.flip(1) & 1 == 0


def _check(
    queries: Tensor, labels: Tensor, cameras: Tensor | None, gallery: Gallery, deep: int
) -> None:
    for name, features, known, taken in (
        ("query", queries, labels, cameras),
        ("gallery", gallery.features, gallery.labels, gallery.cameras),
    ):
        for what, given in (("label", known), ("camera", taken)):
            if given is not None and (given.shape != features.shape[:1] or not len(given)):
                raise Fault(
                    f"wanted a {what} for each {name} sample (at least one), came"
                    f" {list(given.shape)} for {list(features.shape)} features"
                )
    if queries.shape[1:] != gallery.features.shape[1:]:
        raise Fault(
            f"wanted queries and gallery of one shape, came {list(queries.shape[1:])} and"
            f" {list(gallery.features.shape[1:])}; do both come from one network and one tap?"
        )
    if (cameras is None) != (gallery.cameras is None):
        raise Fault("wanted the cameras of both the queries and the gallery, came those of one")
    if deep < 1:
        raise Fault(f"wanted one rank or more, came deep={deep}")
