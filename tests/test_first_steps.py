"""The first fifty steps of RRKD and RRD: the same losses on one, two and four processes.

On MNIST, or on scikit-learn's digits where that is not there. Run as a module this file is one
of the processes.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from relatum import together
from relatum.data import Batches
from relatum.datasets import Dataset, load
from relatum.distiller import Distiller
from relatum.fit import fit
from relatum.losses import RRD, RRKD, CrossEntropy
from relatum.models.mnist import Perceptron, mnist_mlp_32, mnist_mlp_1200
from relatum.objective import Losses, Objective, Term
from relatum.schedules import constant
from relatum.taps import Tapped
from relatum.teachers import Teacher
from relatum.types import Batch, Input
from tests.processes import join, long, start

STEPS, BATCH = 50, 126
"""Sixty-three samples on each of two processes; thirty-two or thirty-one on each of four."""
Found = dict[str, dict[str, torch.Tensor]]
LOSSES: dict[str, Callable[[], nn.Module]] = {
    "rrkd": RRKD,
    "rrd": lambda: RRD(32, 1200, dim=64, queue_size=512),
}


def data() -> Dataset:
    root = os.environ.get("RELATUM_TEST_DATA")
    if root and Path(root, "mnist").is_dir():
        return load("mnist", root=Path(root) / "mnist")
    return load("digits")


class Steps(Distiller):
    """Remembers the losses of every step."""

    def __init__(self, student: Tapped, teacher: Teacher, objective: Objective) -> None:
        super().__init__(student, teacher, objective)
        self.steps: list[dict[str, float]] = []

    def losses(self, batch: Batch) -> Losses:
        found = super().losses(batch)
        self.steps.append({name: float(value) for name, value in found.parts.items()})
        return found


class First:
    """The first steps of a set, as an epoch."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return STEPS

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """So many, of further epochs where one has fewer."""
        seen = 0
        while seen < STEPS:
            for batch in self._batches.epoch(number):
                if seen < STEPS:
                    yield batch
                seen += 1
            number += 1


def found(name: str) -> dict[str, torch.Tensor]:
    """The losses of every step, as the mean over all processes, and what was learnt."""
    dataset = data()
    channels, size, _ = dataset.train.shape
    torch.manual_seed(0)
    taught = mnist_mlp_1200(channels, size, classes=10, dropout=0.0)
    learning = mnist_mlp_32(channels, size, classes=10, dropout=0.0)
    wanted = Input(mean=dataset.mean, std=dataset.std)
    objective = Objective(ce=Term(CrossEntropy()), term=Term(LOSSES[name](), on="embedding"))
    distiller = Steps(tapped(learning, wanted), Teacher(taught, taught.taps, wanted), objective)
    batches = Batches(dataset.train, BATCH, shuffle=True, drop_last=True, shared=True)
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.05, momentum=0.9)
    list(fit(distiller, First(batches), optimizer, constant(), 1))
    every = together.all_of(distiller.steps)
    return {
        **{
            part: torch.tensor([[step[part] for step in each] for each in every]).mean(0)
            for part in ("ce", "term")
        },
        "weights": nn.utils.parameters_to_vector(learning.parameters()).detach(),
    }


def tapped(network: Perceptron, wanted: Input) -> Tapped:
    return Tapped(network, network.taps, wanted)


@pytest.fixture(scope="module")
def alone() -> Found:
    return {name: found(name) for name in LOSSES}


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=long)])
def test_the_losses_of_every_step_are_those_of_one_process(alone: Found, size: int) -> None:
    for rank, each in enumerate(start("tests.test_first_steps", size)):
        for name, wanted in alone.items():
            mine = each[name]
            for part in ("ce", "term"):
                assert len(mine[part]) == STEPS
                far = (mine[part] - wanted[part]).abs().max()
                assert far < 1e-4, (rank, name, part, float(far))
            assert abs(wanted["term"][0] - wanted["term"][-1]) > 1e-3  # it learns meanwhile
            torch.testing.assert_close(mine["weights"], wanted["weights"], atol=1e-4, rtol=0)


if __name__ == "__main__":
    join(lambda: {name: found(name) for name in LOSSES})
