"""A run with several teachers: networks and tables, each weighed and each recorded."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from relatum import relations
from relatum.recipes.recipe import Recipe
from relatum.record import WEIGHTS
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
    assert not any("SP reads" in each for each in record.notes)
    again = evaluate_again(table.parent / "run")
    assert again["gap_cosine"] == pytest.approx(record.metrics["gap_cosine"])
    assert set(again) == set(record.metrics)


def test_one_by_two_names_is_refused(recipe: Recipe, taught: Path, table: Path) -> None:
    beside = taught.parent / "beside"
    beside.symlink_to(taught)
    other = f"{table.parent}/../{table.parent.name}/{table.name}"
    for text in (
        f"{taught},{beside}",
        f"{taught}/{WEIGHTS},{taught}",
        f"table:{table},table:{other}",
    ):
        with pytest.raises(Fault, match=r"^the teachers .* are one: weigh it instead$"):
            prepare(recipe.but(teacher=text, method="rrkd"), CPU)


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


def test_it_is_said_that_sp_reads_no_maps(recipe: Recipe, taught: Path, table: Path) -> None:
    made = recipe.but(teacher=f"{taught},table:{table}", method="sp+rrkd")
    said = list(prepare(made, CPU).warnings(made))
    assert "SP reads the embedding: several teachers have no feature maps in common" in said
    assert any(each.startswith("several teachers, by what each counts: ") for each in said)


def test_every_kind_says_of_which_images_it_speaks(
    recipe: Recipe, taught: Path, table: Path
) -> None:
    """In whatever order they stand beside each other: a subset of the set keeps its numbers."""
    which = torch.tensor([7, 2, 100])
    rows = f"table:{table}"
    for text in (str(taught), rows, f"{taught},{rows}", f"{rows},{taught}"):
        ready = prepare(recipe.but(teacher=text), CPU)
        assert ready.pair.teacher is not None
        labels = ready.sets.train.labels
        assert labels is not None
        whole = ready.pair.teacher.about(ready.sets.train, ("embedding",))
        said = ready.pair.teacher.about(ready.sets.train, ("embedding",), which)
        assert said.indices.tolist() == [7, 2, 100]
        assert said.labels is not None
        assert said.labels.tolist() == labels[which].tolist()
        wanted = whole.values["embedding"][which]
        torch.testing.assert_close(said.values["embedding"], wanted, atol=1e-5, rtol=0)


def test_a_folder_may_be_called_as_it_likes(
    recipe: Recipe, taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its words alone this would be two teachers, one of them of weight 0."""
    monkeypatch.chdir(tmp_path)
    Path("lr=0,wd=0").symlink_to(taught)
    one, same = (prepare(recipe.but(teacher=text), CPU) for text in (str(taught), "lr=0,wd=0"))
    assert one.pair.teacher_sha256 == same.pair.teacher_sha256
    with pytest.raises(Fault, match=r"^teachers 'lr=0,wd=0\+1=0': a weight is .* over 0, got 0$"):
        run(recipe.but(teacher="lr=0,wd=0+1=0"), tmp_path / "run")
    assert not list(tmp_path.glob("run/*"))


def test_another_weight_is_another_teacher(recipe: Recipe, taught: Path, table: Path) -> None:
    sums = {
        prepare(recipe.but(teacher=f"{taught},table:{table}={weight}"), CPU).pair.teacher_sha256
        for weight in (1, 2)
    }
    assert len(sums) == 2


def test_two_networks_share_their_logits_and_quick_copies_speak_as_they_do(
    recipe: Recipe, taught: Path, tmp_path: Path
) -> None:
    shutil.copytree(taught, tmp_path / "copy")
    made = recipe.but(teacher=f"{taught},{tmp_path / 'copy'}", method="kd")
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
