"""Probes against solving the same problem another way."""

import math
import warnings

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from relatum.evaluate import knn, linear_probe, probes
from relatum.types import Fault

Set = tuple[Tensor, Tensor, Tensor, Tensor]


def clouds(train: int = 120, test: int = 80, seed: int = 0) -> Set:
    """Three overlapping classes, so that a wrong solution is seen in the accuracy."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    labels = torch.randint(3, (train + test,), generator=generator)
    samples = centres[labels] + 0.7 * torch.randn(train + test, 4, generator=generator)
    return samples[:train], labels[:train], samples[train:], labels[train:]


def by_descent(train: Tensor, labels: Tensor, test: Tensor) -> Tensor:
    """The classes of the multinomial regression with half the squared weights added."""
    train = torch.nn.functional.pad(train.double(), (0, 1), value=1.0)  # the intercept
    test = torch.nn.functional.pad(test.double(), (0, 1), value=1.0)
    target = torch.nn.functional.one_hot(labels, 3).double()
    penalty = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0])
    weight = torch.zeros(3, 5, dtype=torch.float64)
    rate = 1 / (0.5 * float(torch.linalg.matrix_norm(train, 2)) ** 2 + 1)
    for _ in range(3000):
        excess = torch.softmax(train @ weight.T, dim=1) - target
        weight -= rate * (excess.T @ train + penalty * weight)
    return (test @ weight.T).argmax(1)


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_probe_solves_the_documented_problem(seed: int) -> None:
    train, labels, test, wanted = clouds(seed=seed)
    train, test = train * 0.2, test * 0.2  # so that the penalty tells
    found = linear_probe(train, labels, test, wanted)
    hits = (by_descent(train, labels, test) == wanted).double().mean()
    assert found.accuracy == pytest.approx(100 * float(hits))
    assert 50 < found.accuracy < 95
    assert found.converged
    assert 1 < found.iterations < 5000
    assert found.seconds > 0


def test_an_offset_of_the_features_does_not_stop_the_fit_early() -> None:
    """In float32 it stops after a tenth of the steps and takes itself for converged."""
    train, labels, test, wanted = clouds()
    found = linear_probe(train.double() + 100, labels, test.double() + 100, wanted)
    hits = (by_descent(train, labels, test) == wanted).double().mean()
    assert found.accuracy == pytest.approx(100 * float(hits))


def test_the_seed_draws_nothing() -> None:
    one, other = (linear_probe(*clouds(), seed=seed) for seed in (0, 1))
    assert (one.accuracy, one.iterations) == (other.accuracy, other.iterations)


def test_standardising_takes_the_scale_away() -> None:
    train, labels, test, wanted = clouds()
    scale = torch.tensor([1e-4, 1.0, 1e3, 1.0])
    plain = linear_probe(train, labels, test, wanted, standardise=True)
    scaled = linear_probe(train * scale + 7, labels, test * scale + 7, wanted, standardise=True)
    assert scaled.accuracy == pytest.approx(plain.accuracy, abs=1.5)
    constant = torch.ones(len(train), 1), torch.ones(len(test), 1)
    wide = linear_probe(
        torch.cat([train, constant[0]], 1),
        labels,
        torch.cat([test, constant[1]], 1),
        wanted,
        standardise=True,
    )
    assert wide.accuracy == pytest.approx(plain.accuracy)


def test_a_probe_that_runs_out_of_steps_says_so_and_nothing_else() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = linear_probe(*clouds(), max_iterations=1)
    assert not found.converged
    assert found.iterations == 1


def test_a_probe_takes_maps_half_precision_and_gradients() -> None:
    train, labels, test, wanted = clouds()
    plain = linear_probe(train.half(), labels, test.half(), wanted)
    maps = train.half().view(-1, 1, 2, 2).requires_grad_(), test.half().view(-1, 1, 2, 2)
    assert linear_probe(maps[0], labels, maps[1], wanted).accuracy == plain.accuracy


def naive_knn(train: Tensor, labels: Tensor, test: Tensor, wanted: Tensor, k: int, t: float) -> int:
    hits = 0
    for sample, label in zip(test.double(), wanted, strict=True):
        near = sorted(
            (-float(sample @ other / (sample.norm() * other.norm())), int(own))
            for other, own in zip(train.double(), labels, strict=True)
        )[:k]
        votes = {own: 0.0 for _, own in near}
        for negative, own in near:
            votes[own] += math.exp(-negative / t)
        hits += max((vote, own) for own, vote in votes.items())[1] == int(label)
    return hits


@pytest.mark.parametrize(("neighbours", "temperature"), [(1, 0.07), (7, 0.07), (20, 0.5)])
def test_knn_equals_naive_loops(neighbours: int, temperature: float) -> None:
    data = clouds()
    found = knn(*data, neighbours=neighbours, temperature=temperature)
    wanted = naive_knn(*data, neighbours, temperature)
    assert found == pytest.approx(100 * wanted / 80)
    assert 50 < found < 95


def test_knn_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = clouds()
    whole = knn(*data)
    for block in (1, 700, 120 * 80):
        monkeypatch.setattr(probes, "_BLOCK", block)
        assert knn(*data) == whole


def test_a_low_temperature_leaves_the_nearest_one() -> None:
    data = clouds()
    assert knn(*data, temperature=1e-5) == knn(*data, neighbours=1)


def test_knn_ignores_lengths_and_autocast() -> None:
    train, labels, test, wanted = clouds()
    plain = knn(train, labels, test, wanted)
    stretch = torch.rand(len(train), 1, generator=torch.Generator().manual_seed(0)) + 0.1
    assert knn(train * stretch, labels, test * 9, wanted) == plain
    # Two neighbours that bfloat16 cannot tell apart.
    close = torch.tensor([[1.0, 0.0201], [1.0, 0.02]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = knn(close, torch.tensor([0, 1]), close[1:], torch.tensor([1]), neighbours=1) + knn(
            close.flip(0), torch.tensor([1, 0]), close[1:], torch.tensor([1]), neighbours=1
        )
    assert found == 200.0


def test_all_vote_where_there_are_few() -> None:
    train, labels, test, wanted = clouds(train=9)
    assert knn(train, labels, test, wanted) == knn(train, labels, test, wanted, neighbours=9)


def test_a_class_that_only_the_test_set_has_is_wrong() -> None:
    train, labels, test, wanted = clouds()
    assert knn(train, labels, test, wanted + 3) == 0.0
    assert linear_probe(train, labels, test, wanted + 3).accuracy == 0.0


def test_digits_are_told_apart_by_their_pixels() -> None:
    images, labels = (torch.from_numpy(each) for each in load_digits(return_X_y=True))
    data = images[:1200].float() / 16, labels[:1200], images[1200:].float() / 16, labels[1200:]
    assert 92 < knn(*data) < 99
    assert 88 < linear_probe(*data).accuracy < 97


def test_faults_say_what_came() -> None:
    train, labels, test, wanted = clouds()
    for probe in (linear_probe, knn):
        with pytest.raises(Fault, match=r"\[119\] labels for \[120, 4\]"):
            probe(train, labels[:-1], test, wanted)
        with pytest.raises(Fault, match=r"one shape, came \[4\] and \[3\]"):
            probe(train, labels, test[:, :3], wanted)
        with pytest.raises(Fault, match="test features hold NaN"):
            probe(train, labels, test * torch.nan, wanted)
        with pytest.raises(Fault, match="train labels from 0, came -1"):
            probe(train, labels - 1, test, wanted)
    with pytest.raises(Fault, match="two classes or more"):
        linear_probe(train, labels * 0, test, wanted)
    with pytest.raises(Fault, match="neighbours=0"):
        knn(train, labels, test, wanted, neighbours=0)
    with pytest.raises(Fault, match="temperature=0"):
        knn(train, labels, test, wanted, temperature=0.0)
