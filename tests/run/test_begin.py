"""A student that begins with trained weights, and features that are frozen indeed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from relatum.checkpoint import Interrupted
from relatum.models import create
from relatum.recipes.recipe import Recipe
from relatum.recipes.transfer import Way, transfer
from relatum.record import Record
from relatum.run import run
from relatum.run.again import evaluate_again
from relatum.run.prepare import prepare
from relatum.types import Fault
from relatum.weights import fingerprint, load_weights, save_weights
from tests.run.runs import CPU, Halts, equal, numbers, weights

CLASSIFIER = {"fc.weight", "fc.bias"}


@pytest.fixture(scope="session")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a resnet8 that learnt the digits a little, its statistics having moved."""
    folder = tmp_path_factory.mktemp("learnt")
    run(Recipe(dataset="digits", student="resnet8", epochs=1, batch_size=128, samples=256), folder)
    return folder


def course(learnt: Path, way: Way = "frozen", **changes: Any) -> Recipe:
    """Two short epochs of the protocol."""
    short = {} if way == "probe" else {"epochs": 2, "milestones": (1,)}
    recipe = transfer(str(learnt), "resnet8", "digits", 3, way, **short)
    return recipe.but(**{"samples": 200, "batch_size": 48, **changes})


def sum_of(folder: Path) -> str:
    network = create("resnet8", channels=1, size=8, classes=10)
    load_weights(network, folder / "student.safetensors")
    return fingerprint(network)


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def test_it_begins_with_all_but_the_classifier(learnt: Path) -> None:
    network = prepare(course(learnt, epochs=0, milestones=(), schedule="constant"), CPU).pair
    state = network.student.network.state_dict()
    assert changed(weights(learnt), state) == CLASSIFIER
    assert not state["fc.bias"].any()
    assert state["fc.weight"].std().item() == pytest.approx(0.01, rel=0.1)
    assert network.begin_sha256 == sum_of(learnt)


def test_the_classifier_follows_the_seed_alone(learnt: Path) -> None:
    def classifier(**changes: Any) -> Tensor:
        made = prepare(course(learnt, **changes), CPU).pair.student.network
        return made.get_submodule("fc").weight  # type: ignore[return-value]

    torch.rand(7)
    assert torch.equal(classifier(), classifier(method="none"))
    assert not torch.equal(classifier(), classifier(seed=4))


def test_frozen_features_are_the_same_bit_for_bit(learnt: Path, tmp_path: Path) -> None:
    record = run(course(learnt), tmp_path)
    assert changed(weights(learnt), weights(tmp_path)) == CLASSIFIER
    assert record.steps == 2 * 5  # the short batch is kept
    assert record.begin_sha256 == sum_of(learnt)
    assert record.rows[1].losses["ce"] < record.rows[0].losses["ce"]
    assert record.rows[1].learning_rate == pytest.approx(0.005)


def test_drifting_features_keep_their_parameters_but_not_their_statistics(
    learnt: Path, tmp_path: Path
) -> None:
    run(course(learnt, "drifting"), tmp_path)
    network = create("resnet8", channels=1, size=8, classes=10)
    statistics = {name for name, _ in network.named_buffers()}
    assert changed(weights(learnt), weights(tmp_path)) == CLASSIFIER | statistics


def test_a_probe_reads_features_that_nothing_touched(learnt: Path, tmp_path: Path) -> None:
    record = run(course(learnt, "probe"), tmp_path)
    assert changed(weights(learnt), weights(tmp_path)) == CLASSIFIER
    assert record.metrics["probe"] > 20
    assert "top1" not in record.metrics  # through a classifier that learnt nothing


def test_any_method_may_begin_so(learnt: Path, tmp_path: Path) -> None:
    tuned = run(course(learnt, method="none"), tmp_path)
    assert tuned.metrics["top1"] > 10
    assert "conv1.weight" in changed(weights(learnt), weights(tmp_path))


def test_the_new_set_may_have_other_classes(tmp_path: Path) -> None:
    network = create("resnet8", channels=1, size=8, classes=4)
    save_weights(
        network,
        tmp_path / "four.safetensors",
        {"classes": "4", "channels": "1"} | {"size": "8", "model": "resnet8"},
    )
    recipe = course(tmp_path / "four.safetensors")
    assert run(recipe, tmp_path / "run").classes == tuple("0123456789")
    named = recipe.but(begin=f"resnet8@{tmp_path / 'four.safetensors'}")
    run(named, tmp_path / "named")
    assert equal(tmp_path / "run", tmp_path / "named")


def test_stopped_it_goes_on_to_the_same_bits(learnt: Path, tmp_path: Path) -> None:
    recipe = course(learnt)
    whole = run(recipe, tmp_path / "whole")
    halts = Halts(7)
    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "parts", stop=halts.stop, display=halts)
    again = run(recipe, tmp_path / "parts", resume=True)
    assert numbers(again) == numbers(whole)
    assert equal(tmp_path / "whole", tmp_path / "parts")


def test_it_does_not_go_on_from_other_weights(learnt: Path, tmp_path: Path) -> None:
    out, recipe = tmp_path / "run", course(learnt)
    halts = Halts(7)
    with pytest.raises(Interrupted):
        run(recipe, out, stop=halts.stop, display=halts)
    other = tmp_path / "other.safetensors"
    network = create("resnet8", channels=1, size=8, classes=10)
    save_weights(network, other, {"model": "resnet8"})
    elsewhere = recipe.but(begin=str(other))
    with pytest.raises(Fault, match=r"is of another run \(begin_sha256"):
        run(elsewhere, out, resume=True)
    run(recipe, out, resume=True)
    with pytest.raises(Fault, match="holds a run that began with other weights"):
        run(elsewhere, out, resume=True)


def test_the_weights_may_have_moved(learnt: Path, tmp_path: Path) -> None:
    recipe = course(learnt)
    record = run(recipe, tmp_path / "run")
    copy = tmp_path / "moved.safetensors"
    copy.write_bytes((learnt / "student.safetensors").read_bytes())
    assert run(recipe.but(begin=str(copy)), tmp_path / "run", resume=True) == record


def test_it_is_measured_again_without_them(learnt: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes((learnt / "student.safetensors").read_bytes())
    record = run(course(copy), tmp_path / "run")
    copy.unlink()
    assert evaluate_again(tmp_path / "run")["top1"] == pytest.approx(record.metrics["top1"])


@pytest.mark.parametrize(
    ("begin", "student", "words"),
    [
        ("nothing", "resnet8", "there is no run and no file nothing to begin with"),
        ("{learnt}", "resnet14", "is a resnet8 and the student a resnet14"),
        ("resnet8@{learnt}/absent", "resnet8", "there is no file"),
        ("wrn-16-1@{learnt}", "wrn-16-1", "is of another network"),
        ("{learnt}", "mnist-ae-32", "does not end in one linear layer that reads its embedding"),
    ],
)
def test_weights_that_do_not_fit(
    learnt: Path, tmp_path: Path, begin: str, student: str, words: str
) -> None:
    recipe = course(learnt, method="none", student=student, begin=begin.format(learnt=learnt))
    with pytest.raises(Fault) as caught:
        run(recipe, tmp_path / "run")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "record.json").exists()


def test_a_record_from_before_reads_well(learnt: Path) -> None:
    record = Record.load(learnt)
    assert record.begin_sha256 == ""
