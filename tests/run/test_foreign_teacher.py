"""A teacher from another code base's checkpoint."""

from pathlib import Path

import pytest
import torch

from relatum.models import create
from relatum.recipes.recipe import Recipe
from relatum.run import run
from relatum.run.sets import sets_of
from relatum.run.trained import trained
from relatum.types import Fault
from relatum.weights import fingerprint
from tests import checkpoints
from tests.run.runs import CPU


def saved(path: Path, classes: int = 10, latest: bool = False) -> str:
    """A checkpoint of a teacher for grey images, as recipes name it, and its fingerprint."""
    torch.manual_seed(3)
    network = create("resnet8", channels=1, size=8, classes=classes)
    form = checkpoints.mdistiller_latest if latest else checkpoints.repdistiller
    checkpoints.save(form(network), path)
    return fingerprint(network)


@pytest.mark.parametrize("latest", [False, True])
def test_it_teaches_and_the_run_knows_it_again(
    latest: bool, recipe: Recipe, tmp_path: Path
) -> None:
    file = tmp_path / "ckpt_epoch_240.pth"
    known = saved(file, latest=latest)
    recipe = recipe.but(teacher=f"resnet8@{file}", epochs=1)
    record = run(recipe, tmp_path / "run")
    assert record.teacher is not None
    assert record.teacher.weights_sha256 == known
    assert run(recipe, tmp_path / "run", resume=True) == record
    torch.manual_seed(4)
    other = create("resnet8", channels=1, size=8, classes=10)
    checkpoints.save(checkpoints.repdistiller(other), file)
    with pytest.raises(Fault, match="learnt from another teacher"):
        run(recipe, tmp_path / "run", resume=True)


def test_its_classifier_tells_how_many_classes_it_has(recipe: Recipe, tmp_path: Path) -> None:
    file = tmp_path / "ckpt_epoch_240.pth"
    known = saved(file, classes=100)
    sets = sets_of(recipe, CPU)
    source = trained(f"resnet8@{file}", sets)
    assert fingerprint(source.network) == known
    assert source.classes is None
    assert source.input == sets.input
    recipe = recipe.but(teacher=f"resnet8@{file}", epochs=1)
    record = run(recipe.but(method="rkd"), tmp_path / "rkd")
    assert record.teacher is not None
    assert record.teacher.weights_sha256 == known
    with pytest.raises(Fault, match="10 logits and the teacher 100 logits") as caught:
        run(recipe.but(method="kd"), tmp_path / "kd")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "kd").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet14", "lacks 'layer1.1.bn1.bias'"),
        ("wrn-16-1", "another network"),
        ("digits-cnn-large", "another network"),
        ("resnet8x4", r"conv1.weight is \(16, 1, 3, 3\) there and \(32, 1, 3, 3\) here"),
    ],
)
def test_another_networks_is_refused(name: str, says: str, recipe: Recipe, tmp_path: Path) -> None:
    file = tmp_path / "ckpt_epoch_240.pth"
    saved(file)
    with pytest.raises(Fault, match=says) as caught:
        run(recipe.but(teacher=f"{name}@{file}"), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_classifier_that_is_no_matrix_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    state = create("resnet8", channels=1, size=8, classes=10).state_dict()
    file = tmp_path / "w.pth"
    for wrong in (torch.zeros(()), torch.zeros(0), torch.zeros(100), torch.zeros(2, 2)):
        checkpoints.save({**state, "fc.bias": wrong}, file)
        with pytest.raises(Fault, match=r"w\.pth is of another network|classes must be") as caught:
            trained(f"resnet8@{file}", sets_of(recipe, CPU))
        assert "\n" not in str(caught.value)
