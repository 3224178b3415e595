"""Distillation by Lightning on two processes is that of one with all samples.

Run as a module this file is a user's script, which Lightning starts a second time by itself.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from relatum import world
from relatum.data import Batches
from relatum.distiller import Distiller
from relatum.losses import KD, RRD, RRKD, SP, CrossEntropy
from relatum.objective import Objective, Term
from relatum.taps import Tap, Tapped
from relatum.teachers import Teacher
from relatum.types import Fault
from tests import toys
from tests.processes import long, ran

pytest.importorskip("lightning")

from lightning.pytorch import Callback, Trainer

from relatum.integrations.lightning import DistillationModule, Loader

pytestmark = pytest.mark.filterwarnings("ignore")
SAMPLES, BATCH, EPOCHS = 24, 8, 3
TAPS = {"embedding": Tap("2")}
Found = dict[str, Tensor]


def network(width: int, seed: int) -> nn.Sequential:
    """Without BatchNorm, whose statistics are each process's own."""
    torch.manual_seed(seed)
    layers = (nn.Flatten(), nn.Linear(36, width), nn.ReLU(), nn.Linear(width, toys.CLASSES))
    return nn.Sequential(*layers)


def everything() -> Objective:
    """Means over samples, one with a changing weight; a relation; a head and a queue."""
    torch.manual_seed(2)
    return Objective(
        ce=Term(CrossEntropy(), weight=lambda progress: 1 - progress / 2),
        kd=Term(KD()),
        sp=Term(SP(), on="embedding", weight=10.0),
        rrd=Term(RRD(8, 12, dim=5, queue_size=24), on="embedding"),
    )


def bare() -> Objective:
    """No term of it reaches the classifier."""
    return Objective(rrkd=Term(RRKD(), on="embedding"))


def means() -> Objective:
    return Objective(ce=Term(CrossEntropy()), kd=Term(KD()))


class Heard(Callback):  # type: ignore[misc]
    """What is logged of every step, and an end to the training after an epoch."""

    def __init__(self, epochs: int) -> None:
        self.rows: list[dict[str, Tensor]] = []
        self._epochs = epochs

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.rows.append(
            {name: each for name, each in trainer.callback_metrics.items() if "loss" in name}
        )

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        trainer.should_stop = trainer.current_epoch + 1 == self._epochs


def batches(*, shared: bool = True) -> Loader:
    return Loader(Batches(toys.resident(SAMPLES), BATCH, shuffle=True, shared=shared))


def sampled(size: int = BATCH) -> Any:
    """A loader of torch's, of so many samples of all processes together."""
    held = toys.resident(SAMPLES)
    assert held.labels is not None
    samples = TensorDataset(held.images.float() / 255, held.labels)
    sampler: Any = DistributedSampler(samples, world.size(), world.rank(), shuffle=False)
    return DataLoader(samples, batch_size=size // world.size(), sampler=sampler)


def trained(
    place: Path,
    objective: Callable[[], Objective] = everything,
    loader: Any = None,
    *,
    example: bool = False,
    until: int = EPOCHS,
    resume: Path | None = None,
    **named: Any,
) -> Found:
    """What every step logged, the student, and what the losses hold."""
    distiller = Distiller(Tapped(network(8, 0), TAPS), Teacher(network(12, 1), TAPS), objective())
    module = DistillationModule(
        distiller,
        lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
        example=toys.batch() if example else None,
    )
    heard = Heard(until)
    several: dict[str, Any] = {"devices": 2, "strategy": "ddp"} if "two" in str(place) else {}
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        default_root_dir=place,
        callbacks=[heard],
        enable_checkpointing=False,
        log_every_n_steps=1,
        **{**quiet, **several, **named},
    )
    trainer.fit(module, loader or batches(), ckpt_path=resume)
    trainer.save_checkpoint(place / f"{until}.ckpt")
    told = {name: torch.stack([row[name] for row in heard.rows]) for name in heard.rows[-1]}
    return {**told, **toys.state(distiller.learner)}


def refused(place: Path, *given: Any) -> str:
    try:
        trained(place, *given)
    except Fault as fault:
        return str(fault)
    return ""


def ways(place: Path) -> dict[str, Found]:
    """All that is compared between one process and two."""
    found = {
        "everything": trained(place),
        "begun": trained(place / "b", until=1),
    }
    found["gone on"] = trained(place / "b", resume=place / "b" / "1.ckpt")
    found["bare"] = trained(place / "c", bare, example=True)
    found["half"] = trained(place / "d", precision="bf16-mixed")
    found["sampled"] = trained(place / "e", loader=sampled())
    halves = sampled(BATCH // 2)
    found["accumulated"] = trained(place / "f", means, halves, accumulate_grad_batches=2)
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Found], dict[str, Any]]:
    place = tmp_path_factory.mktemp("ranks")
    ran("-m", "tests.integrations.test_lightning_ranks", place / "two")
    return ways(place / "one"), torch.load(place / "two" / "found.pt")


@long
@pytest.mark.parametrize("way", ["everything", "bare", "half", "sampled", "accumulated"])
def test_two_processes_train_as_one(
    found: tuple[dict[str, Found], dict[str, Any]], way: str
) -> None:
    one, two = found[0][way], found[1][way]
    near: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-6}
    if way == "half":
        near = {"rtol": 3e-2, "atol": 3e-3}
    assert one.keys() == two.keys()
    for name, value in one.items():
        if way == "sampled" and "queue" in name:  # the same samples, in another order
            continue
        torch.testing.assert_close(two[name], value, **near, msg=name)
    begun = network(8, 0).state_dict()
    moved = {name: two[f"student.network.{name}"] for name in begun}
    still = {name for name, value in begun.items() if torch.equal(moved[name], value)}
    assert still == ({"3.weight", "3.bias"} if way == "bare" else set())


@long
def test_what_two_processes_go_on_with_has_the_same_bits(
    found: tuple[dict[str, Found], dict[str, Any]],
) -> None:
    for each in found:
        whole, again = each["everything"], each["gone on"]
        names = [name for name in whole if not name.startswith("loss")]
        assert all(torch.equal(whole[name], again[name]) for name in names)


@long
def test_what_would_hang_or_be_learnt_twice_is_refused(
    found: tuple[dict[str, Found], dict[str, Any]],
) -> None:
    assert "Batches(…, shared=True)" in found[1]["not shared"]
    assert "example=BATCH" in found[1]["unreached"]
    assert "'3.weight' (2 parameters" in found[1]["unreached"]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    made: dict[str, Any] = ways(folder)
    made["not shared"] = refused(folder / "g", everything, batches(shared=False))
    made["unreached"] = refused(folder / "h", bare)
    if world.rank() == 0:
        torch.save(made, folder / "found.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
