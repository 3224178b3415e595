"""A teacher that is read wrongly is known by its mistakes, and what would mend them is said."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from relatum.datasets import load
from relatum.doctor.finding import Finding
from relatum.doctor.teacher import _permuted, examine_rest, examine_teacher, recorded
from relatum.models import create
from relatum.recipes.recipe import Recipe
from relatum.run import run
from relatum.run.network_teacher import NetworkTeacher
from relatum.run.prepare import Prepared, prepare
from relatum.run.sets import Sets
from relatum.teachers import Teacher
from relatum.types import Input

CPU = torch.device("cpu")
WHOLE = 1797


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "run"
    run(Recipe(student="digits-cnn-large", epochs=2), folder)
    return folder


@pytest.fixture
def ready(folder: Path) -> Prepared:
    return prepare(Recipe(method="sp", teacher=str(folder)), CPU)


def about(
    ready: Prepared, teacher: Teacher, sets: Sets | None = None, named: str | None = None
) -> dict[str, Finding]:
    assert ready.pair.teacher is not None
    asked = NetworkTeacher(teacher, ready.pair.teacher.known)
    pair = replace(ready.pair, teacher=asked)
    return {each.check: each for each in examine_teacher(pair, sets or ready.sets, named)}


def taught(ready: Prepared) -> Teacher:
    assert isinstance(ready.pair.teacher, NetworkTeacher)
    return ready.pair.teacher.live


def test_a_sound_teacher(ready: Prepared) -> None:
    found = about(ready, taught(ready))
    assert {each.level for each in found.values()} == {"ok"}
    assert found["teacher's accuracy"].text.startswith("digits-cnn-large: 9")


def test_a_wrong_normalisation_is_found(ready: Prepared) -> None:
    good = taught(ready).tapped
    bad = Teacher(good.network, good.taps, Input(mean=(3.0,), std=(0.05,)))
    before = bad.tapped.mean.clone(), bad.tapped.std.clone()
    found = about(ready, bad)["teacher's accuracy"]
    assert found.level in ("warning", "problem")
    assert "with the set's own mean and deviation it would be 9" in found.way_out
    assert (bad.tapped.mean, bad.tapped.std) == before


def test_a_normalisation_that_is_recorded_is_not_doubted(ready: Prepared, folder: Path) -> None:
    assert recorded(str(folder))
    assert not recorded("")
    good = taught(ready).tapped
    bad = Teacher(good.network, good.taps, Input(mean=(3.0,), std=(0.05,)))
    said = about(ready, bad, named=str(folder))["teacher's accuracy"]
    assert said.level == "problem"
    assert "with the set's own" not in said.way_out
    assert said.way_out.endswith("they are as its file says")


def test_so_few_images_cannot_tell(ready: Prepared) -> None:
    labels = ready.sets.train.labels
    assert labels is not None
    places = torch.cat([(labels == each).nonzero().flatten()[:9] for each in (0, 1)])
    network = create("digits-cnn-large", channels=1, size=8, classes=10)
    with torch.no_grad():
        for each in network.parameters():
            each.zero_()  # it says 0 of all images, and is right about half of them
    teacher = Teacher(network, taught(ready).tapped.taps, ready.sets.input)
    sets = replace(ready.sets, train=ready.sets.train.take(places))
    said = about(ready, teacher, sets)["teacher's accuracy"]
    assert said.level == "warning"
    assert said.text.endswith("18 images cannot tell whether it guesses")


def test_classes_in_another_order_are_found(ready: Prepared) -> None:
    good = taught(ready).tapped
    order = torch.tensor([1, 0, 3, 2, 5, 4, 7, 6, 9, 8])

    class Shuffled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = good.network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.inner(images)
            return logits[:, order]

    found = about(ready, Teacher(Shuffled(), {}, good.input))["teacher's accuracy"]
    assert found.level == "problem"
    assert "its classes in another order (its 0 is this set's 1)" in found.way_out


def test_a_teacher_that_guesses(ready: Prepared) -> None:
    torch.manual_seed(3)
    network = create("digits-cnn-large", channels=1, size=8, classes=10)
    teacher = Teacher(network, taught(ready).tapped.taps, ready.sets.input)
    assert about(ready, teacher)["teacher's accuracy"].level == "problem"


def test_a_teacher_that_tells_nothing_apart(ready: Prepared) -> None:
    good = taught(ready).tapped
    with torch.no_grad():
        for each in good.network.parameters():
            each.zero_()
    assert about(ready, taught(ready))["teacher's embedding"].level == "problem"


def test_a_teacher_at_rest(ready: Prepared) -> None:
    assert examine_rest(ready.pair).level == "ok"
    network: Any = taught(ready).network
    next(network.parameters()).requires_grad_(True)
    assert examine_rest(ready.pair).level == "problem"


def test_few_images(ready: Prepared) -> None:
    """Both mistakes on images that an order of classes is fitted on; and one image alone."""
    labels = torch.tensor([0, 1] * 5)
    said = labels.clone()
    said[[0, 2]] = 1
    logits = torch.nn.functional.one_hot(said, 2).float()
    assert _permuted(logits, labels, ("a", "b")) == {}
    assert _permuted(logits[:1], labels[:1], ("a", "b")) == {}
    sets = replace(ready.sets, train=ready.sets.train.take(torch.tensor([3])))
    found = {each.check: each for each in examine_teacher(ready.pair, sets)}
    assert "of 1 training images" in found["teacher's accuracy"].text
    assert found["teacher's embedding"].text.endswith("of one image alone")


def tables(folder: Path, shuffled: bool = False) -> list[str]:
    """One of perfect logits, and one that says the same of all images."""
    whole = load("digits")
    labels = torch.empty(WHOLE, dtype=torch.long)
    for part in (whole.train, whole.test):
        assert part.places is not None
        assert part.labels is not None
        labels[part.places] = part.labels
    labels = (labels + 1) % 10 if shuffled else labels
    logits = torch.nn.functional.one_hot(labels, 10).float()
    save_file({"logits": logits}, folder / "logits.safetensors")
    save_file({"embedding": torch.ones(WHOLE, 10)}, folder / "flat.safetensors")
    return [f"table:{folder / 'logits.safetensors'}", f"table:{folder / 'flat.safetensors'}"]


@pytest.mark.parametrize("validation", [0.0, 0.1])
def test_a_table_is_looked_at(validation: float, tmp_path: Path) -> None:
    logits, flat = tables(tmp_path)
    recipe = Recipe(method="kd", teacher=logits, validation=validation)
    said = prepare(recipe, CPU)
    (found,) = examine_teacher(said.pair, said.sets)
    part = "validation" if validation else "training"
    assert found.level == "ok"
    assert f"100.0% of {144 if validation else 500} {part} images" in found.text
    said = prepare(recipe.but(method="rrkd", teacher=flat), CPU)
    spread, accuracy = examine_teacher(said.pair, said.sets)
    assert spread.level == "problem"
    assert "tells no two images apart" in spread.way_out
    assert "gives an embedding" in accuracy.text


def test_each_of_several_teachers_is_looked_at(folder: Path, tmp_path: Path) -> None:
    logits, _ = tables(tmp_path, shuffled=True)
    said = prepare(Recipe(method="kd", teacher=f"{folder},{logits}"), CPU)
    found = [each for each in examine_teacher(said.pair, said.sets) if "accuracy" in each.check]
    assert [each.level for each in found] == ["ok", "problem"]
    assert "its classes in another order" in found[1].way_out
