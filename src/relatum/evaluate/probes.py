"""What frozen features are good for: simple classifiers fitted on top of them."""

import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from relatum import relations
from relatum.precision import exact
from relatum.types import Fault, FeatureMap, Labels

VOTES = 20
"""Neighbours of which each has a vote: what DINO (Caron et al., 2021) found best."""
_ONE_CORE = 10**8
"""Products of fewer terms are fitted on one core: see ``_fit``."""
_BLOCK = 2**24
"""How many similarities ``knn`` holds at a time: 64 MB in float32."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a linear probe found.

    Attributes:
        accuracy: on the test samples, in percent.
        iterations: how many steps the solver took.
        converged: whether it came to rest before its limit; if not, say so with the number.
        seconds: how long the fit took.
    """

    accuracy: float
    iterations: int
    converged: bool
    seconds: float


def linear_probe(
    train: FeatureMap,
    train_labels: Labels,
    test: FeatureMap,
    test_labels: Labels,
    *,
    seed: int = 0,
    max_iterations: int = 5000,
    standardise: bool = False,
) -> ProbeResult:
    r"""Fit a logistic regression on frozen features and score it on others.

    scikit-learn's, as in RRKD's published code (Ramos, Alampay, Abu 2023): multinomial, with the
    :math:`L_2` penalty at C = 1 (:math:`\frac12\|W\|^2` against the *sum* of the samples'
    cross-entropies), solved by L-BFGS, features as they are. So the scale of the features
    matters, and ``standardise`` takes that away.

    Features go in as float64. That is slower by a fifth to a half than float32, and right:
    where all features have a common offset of 22 deviations, float32 stops 1.2 % above the
    best objective, reports success, and scores 0.4 points less (5,000 samples of MNIST).
    54,000×64 features of an MNIST auto-encoder take 11 s and 620 iterations on one core;
    512 dimensions and 100 classes take minutes. Unscaled features far from zero may need
    more than 5,000 iterations.

    Args:
        train: N samples; maps are flattened.
        train_labels: their classes.
        test: samples to score on.
        test_labels: their classes.
        seed: handed on; L-BFGS starts at zero and draws nothing, so it changes nothing.
        max_iterations: 5000 in RRKD's code.
        standardise: shift and scale every feature to mean 0 and deviation 1 of ``train``.

    Raises:
        Fault: shapes that do not fit, features that are not finite, or a single class.

    Example:
        >>> features = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]])
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> linear_probe(features, labels, features, labels).accuracy
        100.0
    """
    _check(train, train_labels, test, test_labels)
    if train_labels.min() == train_labels.max():
        raise Fault("a linear probe wants two classes or more to train on, came one")
    rows, others = (each.detach().cpu().double().flatten(1) for each in (train, test))
    if standardise:
        mean, deviation = rows.mean(dim=0), rows.std(dim=0, correction=0)
        # A feature that never changes stays at zero.
        deviation = torch.where(deviation > 0, deviation, 1.0)
        rows, others = (rows - mean) / deviation, (others - mean) / deviation
    return _fit(rows, train_labels.cpu(), others, test_labels.cpu(), seed, max_iterations)


def _fit(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, seed: int, limit: int
) -> ProbeResult:
    # These take a second to import, and only a probe needs them.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import (
        LogisticRegression,
    )
    from threadpoolctl import threadpool_limits

    # Small products gain nothing from a second core, and lose where others use it: with two
    # busy cores the fit named above took 248 s on two threads and 11 s on one.
    small = train.numel() * (int(train_labels.max()) + 1) < _ONE_CORE
    model = LogisticRegression(max_iter=limit, random_state=seed)
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with threadpool_limits(1) if small else nullcontext():
            model.fit(train.numpy(), train_labels.numpy())
    seconds = time.perf_counter() - start
    hits = int((model.predict(test.numpy()) == test_labels.numpy()).sum())
    return ProbeResult(
        accuracy=100 * hits / len(test),
        iterations=int(model.n_iter_.max()),
        converged=not any(issubclass(each.category, ConvergenceWarning) for each in caught),
        seconds=seconds,
    )


def knn(
    train: FeatureMap,
    train_labels: Labels,
    test: FeatureMap,
    test_labels: Labels,
    *,
    neighbours: int = VOTES,
    temperature: float = 0.07,
) -> float:
    r"""Accuracy of a vote of the nearest neighbours by cosine, in percent.

    The class of :math:`x` is that with the largest :math:`\sum_i \exp(\cos(x, x_i) / T)` over
    those of its k nearest training samples which belong to it (Wu et al., "Unsupervised
    Feature Learning via Non-Parametric Instance Discrimination", 2018, section 3.4). No
    parameter is fitted, so nothing can fail to converge.

    Test samples are taken in blocks, so at most 2²⁴ similarities (64 MB in float32) are held at
    a time. It runs where ``train`` lies, in float32 or better.

    Args:
        train: N samples; maps are flattened.
        train_labels: their classes, from 0.
        test: samples to score on.
        test_labels: their classes.
        neighbours: how many vote, or all where there are fewer. Wu et al. take 200; 20 is
            what DINO (Caron et al., 2021) found best.
        temperature: how much the nearest count for more; 0.07 in both papers.

    Raises:
        Fault: shapes that do not fit, features that are not finite, or nothing to vote by.

    Example:
        >>> features = torch.tensor([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0], [0.2, 1.0]])
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> knn(features, labels, features, labels, neighbours=2)
        100.0
    """
    _check(train, train_labels, test, test_labels)
    if neighbours < 1 or not temperature > 0:
        raise Fault(
            "wanted one neighbour or more and a temperature above zero, came"
            f" neighbours={neighbours}, temperature={temperature}"
        )
    device = train.device
    train_labels, test_labels = train_labels.to(device).long(), test_labels.to(device).long()
    bank_DN = relations.unit(train.detach().flatten(1)).T
    queries = relations.unit(test.detach().to(device).flatten(1))
    votes = [
        _vote(query_BD, bank_DN, train_labels, min(neighbours, len(train)), temperature)
        for query_BD in torch.split(queries, max(_BLOCK // len(train), 1))
    ]
    return 100 * int((torch.cat(votes) == test_labels).sum()) / len(test)


@exact
def _vote(
    query_BD: Tensor, bank_DN: Tensor, labels_N: Tensor, neighbours: int, temperature: float
) -> Tensor:
    nearest = (query_BD @ bank_DN).topk(neighbours, dim=1)
    # A softmax differs from exp by a factor that a row's classes share, and cannot overflow.
    weight_BK = torch.softmax(nearest.values / temperature, dim=1)
    score_BC = weight_BK.new_zeros(len(query_BD), int(labels_N.max()) + 1)
    return score_BC.scatter_add_(1, labels_N[nearest.indices], weight_BK).argmax(dim=1)


def _check(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> None:
    for name, features, labels in (("train", train, train_labels), ("test", test, test_labels)):
        if labels.shape != features.shape[:1] or not len(labels):
            raise Fault(
                f"wanted a label for each {name} sample (at least one), came"
                f" {list(labels.shape)} labels for {list(features.shape)} features"
            )
        if labels.min() < 0:
            raise Fault(f"wanted {name} labels from 0, came {int(labels.min())}")
        if not features.isfinite().all():
            raise Fault(f"{name} features hold NaN or infinity; did the training diverge?")
    if train.shape[1:] != test.shape[1:]:
        raise Fault(
            f"wanted train and test features of one shape, came {list(train.shape[1:])} and"
            f" {list(test.shape[1:])}; do both come from one network and one tap?"
        )
