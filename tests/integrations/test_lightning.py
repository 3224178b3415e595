"""Distillation by Lightning's Trainer is that by relatum's own loop."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from relatum import integrations
from relatum.data import Batches
from relatum.distiller import Distiller
from relatum.fit import fit
from relatum.losses import KD, SP, CrossEntropy
from relatum.objective import Objective, Term
from relatum.schedules import cosine
from relatum.taps import Tapped
from relatum.types import Batch, Fault
from tests import toys
from tests.training import STEPS, made, sgd

pytest.importorskip("lightning")

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger

from relatum.integrations.lightning import (
    DistillationModule,
    Distilling,
    Loader,
    student_state,
)

pytestmark = pytest.mark.filterwarnings("ignore")


def trainer(place: Path, epochs: int = 4, **named: Any) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(
        max_epochs=epochs, accelerator="cpu", default_root_dir=place, **{**quiet, **named}
    )


def module(distiller: Distiller) -> DistillationModule:
    def optimizer(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True)

    return DistillationModule(distiller, optimizer, cosine())


class Heard(Callback):  # type: ignore[misc]
    """The total of every step, and the parts of the last."""

    def __init__(self) -> None:
        self.totals: list[float] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
        self.totals.append(float(outputs["loss"]))
        self.last = dict(trainer.callback_metrics)


def by_hand(distiller: Distiller, epochs: int) -> list[float]:
    """The same through ``fit``; the total of every step."""
    totals: list[float] = []
    losses = distiller.losses

    def heard(batch: Batch) -> Any:
        found = losses(batch)
        totals.append(float(found.total.detach()))
        return found

    distiller.losses = heard  # type: ignore[method-assign]
    for _ in fit(distiller, toys.batches(), sgd(distiller), cosine(), epochs):
        pass
    return totals


def test_twenty_steps_are_those_of_relatums_own_loop(tmp_path: Path) -> None:
    ours, theirs, heard = made(), made(), Heard()
    before = {name: value.clone() for name, value in theirs.teacher.state_dict().items()}  # type: ignore[union-attr]
    totals = by_hand(ours, 4)
    torch.manual_seed(7)
    trainer(tmp_path, callbacks=[heard], enable_checkpointing=False).fit(
        module(theirs), Loader(toys.batches())
    )
    assert len(totals) == 4 * STEPS == 20
    assert heard.totals == pytest.approx(totals, rel=1e-6)
    assert toys.same(toys.state(ours.learner), toys.state(theirs.learner))
    assert toys.same(before, theirs.teacher.state_dict())  # type: ignore[union-attr]
    assert {"loss", "loss/ce", "loss/kd", "loss/rrd", "loss/sp", "loss/rrd.teacher_entropy"} <= set(
        heard.last
    )


def test_it_goes_on_from_a_checkpoint_to_the_same_bits(tmp_path: Path) -> None:
    whole, first, second = made(), made(), made()
    torch.manual_seed(7)
    validation = toys.batches(labels=True)
    trainer(tmp_path, enable_checkpointing=False).fit(
        module(whole), Loader(toys.batches()), Loader(validation)
    )
    torch.manual_seed(7)
    begun = trainer(tmp_path, epochs=4)

    class Stops(Callback):  # type: ignore[misc]
        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            trainer.should_stop = trainer.current_epoch == 1

    begun = trainer(tmp_path, callbacks=[Stops()])
    begun.fit(module(first), Loader(toys.batches()), Loader(validation))
    path = tmp_path / "mine.ckpt"
    begun.save_checkpoint(path)
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["epoch"] == 1 or checkpoint["global_step"] == 2 * STEPS
    assert set(student_state(checkpoint)) == set(first.student.network.state_dict())
    assert any(name.startswith("learner.objective.losses.rrd") for name in checkpoint["state_dict"])
    assert not any("teacher" in name for name in checkpoint["state_dict"] if "losses" not in name)
    torch.manual_seed(0)
    trainer(tmp_path, enable_checkpointing=False).fit(
        module(second), Loader(toys.batches()), Loader(validation), ckpt_path=path
    )
    assert not toys.same(toys.state(first.learner), toys.state(second.learner))
    assert toys.same(toys.state(whole.learner), toys.state(second.learner))


def test_the_accuracy_is_the_students(tmp_path: Path) -> None:
    distiller = made()
    found = trainer(tmp_path).validate(module(distiller), Loader(toys.batches()), verbose=False)
    right = total = 0
    distiller.student.eval()
    for batch in toys.batches().epoch(1):
        guessed = distiller.student(batch.images).output.argmax(1)
        assert batch.labels is not None
        right, total = right + int((guessed == batch.labels).sum()), total + len(batch)
    assert found[0]["validation_top1"] == pytest.approx(100 * right / total)


def test_without_labels_it_validates_by_the_loss(tmp_path: Path) -> None:
    objective = Objective(sp=Term(SP(), on="maps"))
    distiller = Distiller(toys.student(), toys.teacher(), objective)
    images = toys.resident().images.float() / 255
    (found,) = trainer(tmp_path).validate(
        module(distiller), DataLoader(TensorDataset(images), batch_size=5), verbose=False
    )
    assert found["validation_loss"] > 0


def test_half_precision_is_the_networks_alone(tmp_path: Path) -> None:
    seen: list[torch.dtype] = []

    class Looks(torch.nn.Module):
        relational = True

        def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
            seen.extend((student.dtype, teacher.dtype))
            return SP()(student, teacher)  # type: ignore[no-any-return]

    distiller = Distiller(toys.student(), toys.teacher(), Objective(sp=Term(Looks(), on="maps")))
    heard = Heard()
    trainer(tmp_path, 1, precision="bf16-mixed", callbacks=[heard], enable_checkpointing=False).fit(
        module(distiller), Loader(toys.batches())
    )
    assert torch.bfloat16 in seen
    assert next(distiller.student.parameters()).dtype == torch.float32
    assert all(0 < each < 1 for each in heard.totals[:-1])  # the last batch is of one sample


class Switches(Callback):  # type: ignore[misc]
    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        trainer.accumulate_grad_batches = 2


@pytest.mark.parametrize("named", [{"accumulate_grad_batches": 2}, {"callbacks": [Switches()]}])
def test_relations_are_not_accumulated(tmp_path: Path, named: dict[str, Any]) -> None:
    distiller = Distiller(toys.student(), toys.teacher(), Objective(sp=Term(SP(), on="maps")))
    with pytest.raises(Fault, match="'sp' compares the samples"):
        trainer(tmp_path, **named).fit(module(distiller), Loader(toys.batches()))


def test_what_is_a_mean_over_samples_is_accumulated(tmp_path: Path) -> None:
    def one() -> Distiller:
        objective = Objective(ce=Term(CrossEntropy()), kd=Term(KD()))
        student = toys.student(dropout=0.0)
        student.network.bn.eval()  # type: ignore[union-attr]
        return Distiller(student, toys.teacher(), objective, only=["conv", "fc"])

    whole, parts = one(), one()
    both = toys.batch(8)
    assert both.labels is not None
    halves = DataLoader(TensorDataset(both.images, both.labels), batch_size=4)
    named: dict[str, Any] = {"epochs": 1, "enable_checkpointing": False}
    trainer(tmp_path, **named).fit(module(whole), Loader(toys.Fixed(both)))
    trainer(tmp_path, accumulate_grad_batches=2, **named).fit(module(parts), halves)
    first, second = toys.state(whole.learner), toys.state(parts.learner)
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], msg=name)


def test_a_module_of_ones_own_has_it_mixed_in(tmp_path: Path) -> None:
    pytest.importorskip("pytorch_lightning")
    from pytorch_lightning import LightningModule
    from pytorch_lightning import Trainer as Other

    class Mine(Distilling, LightningModule):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return 2 * super().training_step(batch, batch_idx)

    distiller = made()
    before = toys.state(distiller.learner)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False}
    other = Other(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    other.fit(Mine(distiller), Loader(toys.batches()))
    assert not toys.same(before, toys.state(distiller.learner))


def test_an_example_tells_what_learns(tmp_path: Path) -> None:
    objective = Objective(sp=Term(SP(), on="maps"))
    distiller = Distiller(toys.student(), toys.teacher(), objective)
    made = DistillationModule(distiller, example=(toys.batch().images,))
    learning = [each for each in made.parameters() if each.requires_grad]
    assert len(learning) == len(distiller.parameters())
    assert not distiller.student.network.fc.weight.requires_grad  # type: ignore[union-attr]
    assert isinstance(made.student, Tapped)


def test_processes_wait_for_each_other_when_losses_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[int] = []
    told: list[dict[str, float]] = []

    class Logged(Logger):  # type: ignore[misc]
        name, version = "", 0

        def log_hyperparams(self, *_: Any, **__: Any) -> None: ...

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            told.append({"step": step or 0, **metrics})

    def over_all(terms: dict[str, Tensor]) -> dict[str, Tensor]:
        met.append(made_one.trainer.global_step)
        return terms

    # of two processes; that both say the same is a test of minutes
    monkeypatch.setattr(integrations.lightning, "world", SimpleNamespace(size=lambda: 2))
    monkeypatch.setattr(integrations.lightning, "over_all", over_all)
    made_one, heard = module(made()), Heard()
    shared = Loader(Batches(toys.resident(16), 2, shared=True))
    named: dict[str, Any] = {"callbacks": [heard], "logger": Logged(), "log_every_n_steps": 3}
    trainer(tmp_path, 2, **named).fit(made_one, shared)
    assert met == [0, 2, 5, 7, 8, 11, 14, 15]
    assert [each["step"] for each in told] == [2, 5, 8, 11, 14]
    # what is logged is of that very step
    assert [each["loss"] for each in told] == [heard.totals[step] for step in (2, 5, 8, 11, 14)]
    assert float(heard.last["loss"]) == heard.totals[15]
