"""Distillation by the Trainer of transformers is that by a plain loop."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from relatum.distiller import Distiller
from relatum.losses import CRD, KD, RRKD, SP
from relatum.objective import Objective, Term
from relatum.several import Teachers
from relatum.types import Batch, Fault, Input

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
)

from relatum.integrations import huggingface
from relatum.integrations.huggingface import OBJECTIVE, DistillationTrainer, _teacher
from tests import toys

pytestmark = pytest.mark.filterwarnings("ignore")
SAMPLES, SIZE, STEPS = 16, 4, 6


def student(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return ViTForImageClassification(
        ViTConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=8,
            patch_size=4,
            num_labels=3,
        )
    )


def teacher() -> Any:
    torch.manual_seed(1)
    return ResNetForImageClassification(
        ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", num_labels=3
        )
    ).eval()


class Images(torch.utils.data.Dataset[dict[str, Any]]):
    def __init__(self, labels: bool = True, indices: bool = False) -> None:
        generator = torch.Generator().manual_seed(5)
        self.pixels = torch.randn(SAMPLES, 3, 8, 8, generator=generator)
        self._labels, self._indices = labels, indices

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, place: int) -> dict[str, Any]:
        sample: dict[str, Any] = {"pixel_values": self.pixels[place]}
        if self._labels:
            sample["labels"] = place % 3
        return {**sample, "indices": place} if self._indices else sample


def arguments(place: Path, **named: Any) -> Any:
    usual: dict[str, Any] = {
        "output_dir": str(place),
        "per_device_train_batch_size": SIZE,
        "max_steps": STEPS,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 3,
    }
    return TrainingArguments(**{**usual, **named})


def relational() -> Objective:
    return Objective(
        kd=Term(KD(), weight=lambda progress: 1 - progress / 2),
        sp=Term(SP(), on="embedding", weight=10.0),
        rrkd=Term(RRKD(), on="embedding"),
    )


class Heard(DistillationTrainer):
    """What every step saw, and its loss."""

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **named: Any) -> Any:
        found = super().compute_loss(model, inputs, *args, **named)
        if model.training:
            self.heard = [*getattr(self, "heard", []), (inputs["pixel_values"], float(found))]
        return found


def logged(trainer: Any, name: str) -> list[float]:
    return [row[name] for row in trainer.state.log_history if name in row]


def test_its_losses_are_those_of_a_plain_loop(tmp_path: Path) -> None:
    learner, taught = student(), teacher()
    before = {name: value.clone() for name, value in taught.state_dict().items()}
    trainer = Heard(
        learner,
        arguments(tmp_path),
        teacher=taught,
        objective=relational(),
        train_dataset=Images(labels=False),
    )
    trainer.train()
    naive = student().train()
    optimizer = torch.optim.AdamW(naive.parameters(), lr=1e-2, weight_decay=0.0)
    for step, (pixels, total) in enumerate(trainer.heard):
        caught: list[Tensor] = []
        with torch.no_grad():
            says = taught(pixels)
            taught_embedding = taught.resnet(pixels).pooler_output.flatten(1)
        hook = naive.classifier.register_forward_pre_hook(
            lambda _, args, into=caught: into.append(args[0])
        )
        said = naive(pixels)
        hook.remove()
        weight = 1 - (step / STEPS) / 2
        loss = weight * KD()(said.logits, says.logits)
        loss = loss + 10.0 * SP()(caught[0], taught_embedding)
        loss = loss + RRKD()(caught[0], taught_embedding)
        assert total == pytest.approx(float(loss), rel=1e-5), step
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(naive.parameters(), 1.0)
        optimizer.step()
    assert len(trainer.heard) == STEPS
    assert logged(trainer, "loss")[-1] == pytest.approx(trainer.heard[-1][1], rel=1e-3)
    assert logged(trainer, "loss_sp")[0] > 0
    assert all(torch.equal(value, before[name]) for name, value in taught.state_dict().items())


def test_what_is_saved_and_evaluated_is_the_bare_student(tmp_path: Path) -> None:
    learner, images = student(), Images(indices=True)
    trainer = DistillationTrainer(
        learner,
        arguments(tmp_path, per_device_eval_batch_size=5),
        teacher=teacher(),
        objective=relational(),
        train_dataset=images,
        eval_dataset=images,
    )
    trainer.train()
    found = trainer.evaluate()
    trainer.save_model(str(tmp_path / "saved"))
    loaded = ViTForImageClassification.from_pretrained(tmp_path / "saved")
    assert set(loaded.state_dict()) == set(student().state_dict())
    with torch.no_grad():
        logits = loaded(images.pixels).logits
    wanted = functional.cross_entropy(logits, torch.arange(SAMPLES) % 3)
    assert found["eval_loss"] == pytest.approx(float(wanted), rel=1e-3)


def memory() -> Objective:
    torch.manual_seed(2)
    return Objective(crd=Term(CRD(16, 12, SAMPLES, negatives=4), on="embedding"))


def test_a_memory_needs_indices_and_is_in_the_checkpoint(tmp_path: Path) -> None:
    def one(place: str, *, indices: bool = True) -> DistillationTrainer:
        return DistillationTrainer(
            student(),
            arguments(tmp_path / place, save_strategy="steps", save_steps=3),
            teacher=teacher(),
            objective=memory(),
            train_dataset=Images(indices=indices),
        )

    with pytest.raises(Fault, match="which samples it holds"):
        one("none", indices=False).train()
    before = {name: each.clone() for name, each in memory().state_dict().items()}
    whole = one("run")
    whole.train()
    state = whole.distiller.objective.state_dict()
    assert not any(torch.equal(value, state[name]) for name, value in before.items() if value.ndim)
    assert (tmp_path / "run" / "checkpoint-3" / OBJECTIVE).exists()
    again = one("run")  # which seeds: the Trainer draws its order by that
    again.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))
    for name, value in again.distiller.objective.state_dict().items():
        assert torch.equal(value, state[name]), name
    for name, value in again.model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[name]), name


def test_relations_are_not_accumulated_and_means_are(tmp_path: Path) -> None:
    named: dict[str, Any] = {"gradient_accumulation_steps": 2, "max_steps": 1}
    with pytest.raises(Fault, match="'sp' compares the samples"):
        DistillationTrainer(
            student(), arguments(tmp_path, **named), teacher=teacher(), objective=relational()
        )
    parts, whole = student(), student()
    for learner, more in ((parts, named), (whole, {"max_steps": 1})):
        size = SIZE if learner is parts else 2 * SIZE
        trainer = DistillationTrainer(
            learner,
            arguments(tmp_path, per_device_train_batch_size=size, optim="sgd", **more),
            teacher=teacher(),
            objective=Objective(kd=Term(KD())),
            train_dataset=Images(labels=False),
        )
        trainer.train()
    for name, value in parts.state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[name], msg=name)
        assert not torch.equal(value, student().state_dict()[name]) or "pooler" in name


def test_each_network_has_its_own_normalisation(tmp_path: Path) -> None:
    mine, its = Input(None, (0.5,) * 3, (0.25,) * 3), Input((12, 12), (0.1,) * 3, (0.3,) * 3)
    seen: dict[str, Tensor] = {}
    learner, taught = student(), teacher()
    taught.resnet.embedder.register_forward_pre_hook(
        lambda _, args: seen.update(teacher=args[0].clone())
    )
    trainer = DistillationTrainer(
        learner,
        arguments(tmp_path, max_steps=1, per_device_train_batch_size=SAMPLES),
        teacher=taught,
        objective=relational(),
        input=mine,
        teacher_input=its,
        train_dataset=Images(),
    )
    pixels = torch.full((1, 3, 8, 8), 2.0)  # of images that are 1.0 throughout
    batch = trainer._batch({"pixel_values": pixels})
    assert torch.equal(batch.images, torch.ones(1, 3, 8, 8))
    assert torch.equal(trainer.distiller.student.prepare(batch.images), pixels)
    trainer.distiller.teacher(batch)  # type: ignore[misc]
    assert seen["teacher"].shape == (1, 3, 12, 12)
    torch.testing.assert_close(seen["teacher"], torch.full((1, 3, 12, 12), 3.0))


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    common: dict[str, Any] = {"args": arguments(tmp_path), "teacher": teacher()}
    with pytest.raises(Fault, match="the objective reads mapz of the student"):
        DistillationTrainer(student(), objective=Objective(sp=Term(SP(), on="mapz")), **common)
    with pytest.raises(Fault, match="say by input"):
        DistillationTrainer(student(), objective=relational(), teacher_input=Input(), **common)


def test_several_teachers_are_taken_as_they_are() -> None:
    """They are a module too, and no network to be tapped."""
    both = Teachers(toys.teacher(), toys.teacher(2))
    assert _teacher(both, None, Input()) is both


def test_what_no_loss_reaches_is_looked_for_with_as_many_images_as_a_step_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Batch] = []
    monkeypatch.setattr(Distiller, "rest", lambda _, batch: asked.append(batch))
    # of two processes; that both do so is a test of minutes
    monkeypatch.setattr(huggingface, "world", SimpleNamespace(size=lambda: 2, alike=list))
    example = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 8, 8)
    for given in (None, example):
        named: Any = {"teacher": teacher(), "objective": relational(), "example": given}
        DistillationTrainer(student(), arguments(tmp_path), **named)
    assert [len(each) for each in asked] == [SIZE, SIZE]
    assert asked[0].indices.tolist() == list(range(SIZE))
    assert asked[1].images[:, 0, 0, 0].tolist() == [0, 1, 2, 0]
