"""Norms of the terms' gradients: against autograd by hand, and without any effect."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relatum import world
from relatum.balance import balance
from relatum.distiller import Distiller
from relatum.fit import Position, fit
from relatum.gradient_norms import Norms, gradient_norms, measure_norms, obstacle
from relatum.losses import KD, SP, CrossEntropy, RKDDistance
from relatum.objective import Objective, Term
from relatum.schedules import constant
from relatum.types import Batch
from tests import processes, toys, training

WEIGHTS = {"ce": 0.5, "kd": 0.9, "rkd": 25.0, "sp": 10.0}


def terms() -> dict[str, Term]:
    return {
        "ce": Term(CrossEntropy(), weight=lambda progress: WEIGHTS["ce"]),
        "kd": Term(KD(), weight=WEIGHTS["kd"]),
        "rkd": Term(RKDDistance(), on="embedding", weight=WEIGHTS["rkd"]),
        "sp": Term(SP(), on="maps", weight=WEIGHTS["sp"]),
    }


def made(**terms: Term) -> Distiller:
    distiller = Distiller(toys.student(dropout=0.0), toys.teacher(), Objective(**terms))
    distiller.train()
    return distiller


def by_hand(name: str, on: str, batch: Batch) -> Tensor:
    """Of one term alone, by the gradient that a whole backward pass leaves at a tap."""
    distiller = made(**{name: terms()[name]})
    said = distiller.student(batch.images)
    place = said.taps[on]
    assert isinstance(place, Tensor)
    place.retain_grad()
    taught = distiller.teacher(batch) if distiller.teacher is not None else None
    losses = distiller.objective(said, taught, batch, distiller.student.prepare(batch.images))
    losses.total.backward()
    assert place.grad is not None
    norm: Tensor = place.grad.norm()
    return norm


def test_every_norm_is_that_of_a_backward_pass_of_its_own() -> None:
    batch = toys.batch()
    norms = measure_norms(made(**terms()), batch)
    assert norms.places == {"ce": "embedding", "kd": "embedding", "rkd": "embedding", "sp": "maps"}
    for name, value in norms.values.items():
        wanted = by_hand(name, norms.places[name], batch)
        torch.testing.assert_close(value, wanted)
        assert value.ndim == 0
        assert value > 0
    assert list(norms.named()) == ["ce", "kd", "rkd", "sp@maps"]
    plain = gradient_norms(made(**terms()), batch, weighted=False)
    for name, weight in WEIGHTS.items():
        torch.testing.assert_close(plain[name] * weight, norms.values[name])


def test_nothing_moves() -> None:
    distiller = training.made()
    distiller.train()
    assert isinstance(distiller.teacher, torch.nn.Module)
    before = toys.state(distiller.learner), toys.state(distiller.teacher)
    random, batch = torch.get_rng_state(), toys.batch()
    first = gradient_norms(distiller, batch)
    assert toys.same(before[0], toys.state(distiller.learner))
    assert toys.same(before[1], toys.state(distiller.teacher))
    assert torch.equal(random, torch.get_rng_state())
    assert not any(each.grad is not None for each in distiller.learner.parameters())
    assert distiller.learner.training
    assert not any(each._forward_hooks for each in distiller.objective.losses.values())
    assert {**first} == gradient_norms(distiller, batch)  # dropout drew the same again


def test_a_term_that_reaches_nothing_that_learns_has_none() -> None:
    distiller = made(ce=Term(CrossEntropy()), rkd=Term(RKDDistance(), on="embedding"))
    for name, each in distiller.student.network.named_parameters():
        each.requires_grad_(name.startswith("fc"))
    norms = measure_norms(distiller, toys.batch())
    assert norms.places == {"ce": "output", "rkd": ""}
    assert norms.values["ce"] > 0
    assert norms.values["rkd"] == 0


def trained(norms: Norms | None, epochs: int = 2, **named: Any) -> tuple[Distiller, list[Any]]:
    distiller = training.made()
    given = (toys.batches(), training.sgd(distiller), constant(), epochs)
    found = [
        (dict(epoch.losses), dict(epoch.gradient_norms))
        for epoch in fit(distiller, *given, norms=norms, **named)
    ]
    return distiller, found


def test_a_training_has_the_same_bits_with_them_and_without() -> None:
    plain, told = trained(None)
    noted, also = trained(Norms())
    assert toys.same(toys.state(plain.learner), toys.state(noted.learner))
    assert [losses for losses, _ in told] == [losses for losses, _ in also]
    assert [norms for _, norms in told] == [{}, {}]
    assert all(list(norms) == ["ce", "kd", "rrd", "sp@maps"] for _, norms in also)
    # and the first are those of the first batch, before the first update
    fresh = training.made()
    fresh.train()
    first = gradient_norms(fresh, next(toys.batches().epoch(1)))
    noted_first = also[0][1]
    assert list(noted_first.values()) == pytest.approx([float(each) for each in first.values()])


class Keeps:
    """Saves once, in the middle of the first epoch."""

    def __init__(self) -> None:
        self.position: Position | None = None
        self._steps = 0

    def due(self) -> bool:
        self._steps += 1
        return self._steps == 2

    def save(self, position: Position) -> None:
        self.position = position

    def epoch_ended(self, position: Position) -> None:
        pass


def test_a_checkpoint_within_an_epoch_holds_them() -> None:
    keeps = Keeps()
    _, told = trained(Norms(), 1, saver=keeps)
    assert keeps.position is not None
    assert keeps.position.step == 2
    _, later = trained(Norms(), 1, start=replace(keeps.position))
    assert later[0][1] == told[0][1]
    assert told[0][1]


def test_under_autocast_they_are_finite_and_near() -> None:
    exact = trained(Norms(), 1)[1][0][1]
    half = trained(Norms(), 1, precision=torch.bfloat16)[1][0][1]
    assert list(half.values()) == pytest.approx(list(exact.values()), rel=0.1)


def test_microbatches_have_none_and_say_why() -> None:
    distiller, told = trained(Norms(), 1, microbatch=2)
    assert told[0][1] == {}
    assert "microbatch" in (obstacle(distiller, 2) or "")
    assert "compiled" in (obstacle(distiller, None, compiled=True) or "")
    assert obstacle(distiller, None) is None


def own(batch: Batch) -> Batch:
    """A process's uneven share of a batch; all of it where there is one process."""
    if world.size() == 1:
        return batch
    return batch.part(slice(0, 5) if world.rank() == 0 else slice(5, None))


def norms() -> dict[str, Tensor]:
    """BatchNorm at rest, so that who is where changes nothing."""
    distiller = made(**terms())
    distiller.student.network.eval()
    return gradient_norms(distiller, own(toys.batch()))


def balanced() -> dict[str, float]:
    """The weights by which terms begin with unequal shares; no BatchNorm, as it would train."""
    distiller = made(**terms())
    distiller.student.network.bn = nn.Identity()
    shares = {"ce": 1.0, "kd": 2.0, "rkd": 3.0, "sp": 4.0}
    found = balance(distiller, map(own, toys.batches(24, 8).epoch(1)), shares)
    assert set(found.places.values()) == {"maps"}
    return dict(found.weights)


def on_ranks() -> tuple[dict[str, Tensor], dict[str, float]]:
    return norms(), balanced()


@pytest.fixture(scope="module")
def pair() -> list[tuple[dict[str, Tensor], dict[str, float]]]:
    """What each of two processes found."""
    return processes.start("tests.test_gradient_norms")


def test_two_processes_have_the_norms_of_the_whole_batch(pair: list[Any]) -> None:
    alone = norms()
    for found, _ in pair:
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-7)


def test_two_processes_balance_as_one_does(pair: list[Any]) -> None:
    (_, first), (_, second) = pair
    assert first == second
    alone = balanced()
    assert first == pytest.approx(alone, rel=1e-5)
    assert len({f"{weight:.3g}" for weight in alone.values()}) == 4


if __name__ == "__main__":
    processes.join(on_ranks)
