"""Distillation by the Trainer of transformers on two processes is that of one with all samples.

Run as a module, by torchrun, this file is one of the processes.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from relatum import world
from relatum.losses import KD, RRD, RRKD, SP
from relatum.objective import Objective, Term
from tests.processes import long, ran

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from relatum.integrations.huggingface import DistillationTrainer
from tests.integrations.test_huggingface import STEPS, Images, arguments, logged, student, teacher

pytestmark = pytest.mark.filterwarnings("ignore")
BATCH = 8
"""Of all processes together."""
Found = dict[str, Tensor]


class OfOneSize(SP):
    """A relation that is built for batches of one size, as SemCKD's attention is."""

    def forward(self, student: Any, teacher: Any) -> Tensor:
        if len(student) != BATCH:
            raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({len(student)} rows)")
        return super().forward(student, teacher)


def everything() -> Objective:
    """A mean over samples whose weight changes, a relation, a head and a queue."""
    torch.manual_seed(2)
    return Objective(
        kd=Term(KD(), weight=lambda progress: 1 - progress / 2),
        sp=Term(OfOneSize(), on="embedding", weight=10.0),
        rrd=Term(RRD(16, 12, dim=5, queue_size=24), on="embedding"),
    )


def bare() -> Objective:
    """No term of it reaches the classifier."""
    return Objective(rrkd=Term(RRKD(), on="embedding"))


def mean() -> Objective:
    return Objective(kd=Term(KD()))


def trained(
    place: Path,
    objective: Callable[[], Objective],
    resume: Path | None = None,
    passes: int = 1,
    **named: Any,
) -> Found:
    """Every logged loss, the student, and what the losses hold."""
    size = BATCH // int(os.environ.get("WORLD_SIZE", "1")) // passes
    usual = {"per_device_train_batch_size": size, "gradient_accumulation_steps": passes}
    trainer = DistillationTrainer(
        student(),
        arguments(place, **{**usual, "optim": "sgd", "learning_rate": 0.02, **named}),
        teacher=teacher(),
        objective=objective(),
        train_dataset=Images(labels=False),
    )
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    names = ["loss", *(f"loss_{name}" for name in objective().terms)]
    told = {name: torch.tensor(logged(trainer, name)[-STEPS:]) for name in names}
    state = {**trainer.model.state_dict(), **trainer.distiller.objective.state_dict()}
    return {**told, **{name: value.clone() for name, value in state.items()}}


def ways(place: Path) -> dict[str, Found]:
    """All that is compared between one process and two."""
    return {
        "everything": trained(place / "a", everything, save_strategy="steps", save_steps=3),
        "gone on": trained(place / "a", everything, resume=place / "a" / "checkpoint-3"),
        "bare": trained(place / "b", bare),
        "accumulated": trained(place / "c", mean, passes=2),
        "half": trained(place / "d", everything, bf16=True),
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Found], dict[str, Found]]:
    place = tmp_path_factory.mktemp("ranks")
    ran("-m", "tests.integrations.test_huggingface_ranks", place / "two", torchrun=2)
    return ways(place / "one"), torch.load(place / "two" / "found.pt")


@long
@pytest.mark.parametrize("way", ["everything", "bare", "accumulated", "half"])
def test_two_processes_train_as_one(
    found: tuple[dict[str, Found], dict[str, Found]], way: str
) -> None:
    one, two = found[0][way], found[1][way]
    begun = student().state_dict()
    near: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-6}
    if way == "half":
        near = {"rtol": 3e-2, "atol": 3e-3}
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, **near, msg=name)
    learnt = [name for name in begun if not torch.equal(begun[name], two[name])]
    assert ("classifier.weight" in learnt) == (way != "bare")
    assert len(learnt) > 10


@long
def test_what_two_processes_go_on_with_has_the_same_bits(
    found: tuple[dict[str, Found], dict[str, Found]],
) -> None:
    for each in found:
        whole, again = each["everything"], each["gone on"]
        assert all(torch.equal(value, again[name]) for name, value in whole.items() if "." in name)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    made = ways(folder)
    if world.rank() == 0:
        torch.save(made, folder / "found.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
