"""A run with several teachers: networks and tables, each weighed and each recorded."""

from pathlib import Path

import numpy as np
import pytest
import torch

from relatum import relations
from relatum.recipes.recipe import Recipe
from relatum.run import run
from relatum.run.again import evaluate_again
from relatum.run.beside import Beside, Hearing
from relatum.run.prepare import prepare
from relatum.several import Teachers
from relatum.types import Fault
from tests.run.conftest import TEACHER
from tests.run.runs import CPU, equal, numbers


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "e.npy", rng.normal(size=(1797, 5)).astype(np.float32))
    return tmp_path / "e.npy"


def test_each_is_trained_by_and_recorded(recipe: Recipe, taught: Path, table: Path) -> None:
    made = recipe.but(teacher=f"{taught},table:{table}=3", method="rkd=2+rrkd", epochs=1)
    record = run(made, table.parent / "run")
    assert set(record.rows[0].losses) == {"ce", "rkd@1", "rkd@2", "rrkd"}
    assert record.teacher is not None
    assert record.teacher.name == "digits-cnn-large + table:e.npy=3"
    assert [each.share for each in record.teacher.members] == [0.25, 0.75]
    assert record.teacher.members[0].metrics["top1"] > 0
    assert record.teacher.parameters == record.teacher.members[0].parameters
    assert (
        "several teachers, by what each counts: digits-cnn-large 0.25, table:e.npy 0.75"
        in record.notes
    )
    again = evaluate_again(table.parent / "run")
    assert again["gap_cosine"] == pytest.approx(record.metrics["gap_cosine"])
    assert set(again) == set(record.metrics)


def test_their_cosines_are_the_mean_in_training_and_in_evaluation(
    recipe: Recipe, taught: Path, table: Path
) -> None:
    made = recipe.but(teacher=f"{taught},table:{table}=3", method="rrkd")
    ready = prepare(made, CPU)
    assert isinstance(ready.teacher, Teachers)
    said = ready.teacher(next(ready.batches.epoch(1))).taps
    from relatum.run.hearing import hear

    assert ready.pair.teacher is not None
    of_test = hear(ready.pair.teacher.tapped, ready.sets.test).values["embedding"]
    rows = torch.from_numpy(np.load(table))
    assert ready.sets.test.places is not None
    alone = prepare(recipe, CPU).pair.teacher
    assert alone is not None
    one = hear(alone.tapped, ready.sets.test).values["embedding"].flatten(1)
    wanted = 0.25 * relations.cosine(one) + 0.75 * relations.cosine(rows[ready.sets.test.places])
    torch.testing.assert_close(relations.gram(of_test), wanted, atol=2e-6, rtol=0)
    first, second = said["embedding_1"], said["embedding_2"]
    assert isinstance(first, torch.Tensor)
    assert isinstance(second, torch.Tensor)
    mean = 0.25 * relations.cosine(first.flatten(1)) + 0.75 * relations.cosine(second)
    joint = said["embedding"]
    assert isinstance(joint, torch.Tensor)
    torch.testing.assert_close(relations.gram(joint), mean, atol=2e-6, rtol=0)


def test_another_weight_is_another_teacher(recipe: Recipe, taught: Path, table: Path) -> None:
    sums = {
        prepare(recipe.but(teacher=f"{taught},table:{table}={weight}"), CPU).pair.teacher_sha256
        for weight in (1, 2)
    }
    assert len(sums) == 2


def test_two_networks_share_their_logits_and_quick_copies_speak_as_they_do(
    recipe: Recipe, taught: Path
) -> None:
    made = recipe.but(teacher=f"{taught},digits-cnn-large@{taught}", method="kd")
    exact, fast = prepare(made, CPU), prepare(made.but(speed="fast", precision="float32"), CPU)
    batch = next(exact.batches.epoch(1))
    assert isinstance(exact.teacher, Teachers)
    assert isinstance(fast.teacher, Teachers)
    alone = prepare(recipe, CPU).teacher
    assert alone is not None
    wanted = alone(batch).output.log_softmax(1)  # two of the same say what one does
    torch.testing.assert_close(exact.teacher(batch).output, wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(fast.teacher(batch).output, wanted, atol=1e-3, rtol=1e-3)


def test_a_method_on_maps_is_refused(recipe: Recipe, taught: Path, table: Path) -> None:
    made = recipe.but(teacher=f"{taught},table:{table}", method="at")
    with pytest.raises(
        Fault, match=r"tap 'stages'.*the teacher embedding, embedding_1, embedding_2"
    ):
        prepare(made, CPU)


@pytest.mark.parametrize("method", ["rkd+rrkd", "kd"])
def test_a_cache_holds_what_each_network_says(
    method: str, recipe: Recipe, taught: Path, table: Path
) -> None:
    here = table.parent
    run(TEACHER.but(epochs=0, seed=1), here / "second")
    tables = "" if method == "kd" else f",table:{table}"
    made = recipe.but(
        teacher=f"{taught},{here / 'second'}=2{tables}",
        **{"method": method, "epochs": 1, "augment": ("crop",), "views": 2, "samples": 200},
    )
    live = run(made, here / "live")
    cached = made.but(cache=str(here / "cache"))
    ready = prepare(cached, CPU)
    assert isinstance(ready.teacher, Teachers)
    assert not ready.teacher.runs
    assert numbers(run(cached, here / "cached")) == numbers(live)
    assert equal(here / "live", here / "cached")
    kept = {path.parent.name.partition("-")[0] for path in here.glob("cache/*/*/*.safetensors")}
    assert kept == {"output" if method == "kd" else "embedding"}
    assert len(list(here.glob("cache/*/manifest.json"))) == 2  # of each network, and of no table
    alone = made.but(method="rrd" if tables else "kd")
    before = set(here.glob("cache/*/*/*.safetensors"))
    prepare(alone.but(teacher=str(taught), cache=str(here / "cache")), CPU)
    assert set(here.glob("cache/*/*/*.safetensors")) == before


def test_trainings_beside_each_other_ask_them_once(
    recipe: Recipe, taught: Path, table: Path
) -> None:
    made = recipe.but(teacher=f"{taught},table:{table}", epochs=1, method="rrkd")
    ready = prepare(made, CPU)
    distiller, _ = ready.distiller(ready.stages[0])
    seat = Beside(1, CPU)
    seat.begin(0, distiller, ready.batches, ready.pair.teacher_sha256)
    assert isinstance(distiller.teacher, Hearing)
    batch = next(ready.batches.epoch(1))
    assert ready.teacher is not None
    torch.testing.assert_close(
        distiller.teacher(batch).read("embedding"), ready.teacher(batch).read("embedding")
    )
