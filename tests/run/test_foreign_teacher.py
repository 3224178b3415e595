"""A teacher from another code base's checkpoint."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

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


def test_a_pickle_does_not_say_whose_it_is(recipe: Recipe, tmp_path: Path) -> None:
    saved(tmp_path / "w.pth")
    with pytest.raises(Fault, match=r"does not say which network .* name it: MODEL@.*w\.pth"):
        trained(str(tmp_path / "w.pth"), sets_of(recipe, CPU))


def test_a_folder_of_weights_in_parts(recipe: Recipe, tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = create("resnet8", channels=1, size=8, classes=10)
    state = network.state_dict()
    files = {name: f"part{place % 2}.safetensors" for place, name in enumerate(state)}
    for file in set(files.values()):
        save_file({name: state[name] for name in state if files[name] == file}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": files}))
    source = trained(f"resnet8@{tmp_path}", sets_of(recipe, CPU))
    assert fingerprint(source.network) == fingerprint(network)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"model_type": "vit"}, "hf/{}:pretrained"),
        ({"architecture": "resnet18", "pretrained_cfg": {}}, "timm/local-dir:{}:pretrained"),
    ],
)
def test_another_librarys_folder_is_told_its_name(
    config: dict[str, object], name: str, recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(Fault) as caught:
        trained(str(tmp_path), sets_of(recipe, CPU))
    assert str(caught.value).endswith(f"name it {name.format(tmp_path)}")
