"""What is watched while training goes on, what "best" is chosen by then, norms of gradients."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from relatum.checkpoint import Interrupted
from relatum.evaluate import neighbours, retrieval
from relatum.recipes.recipe import Recipe
from relatum.record import Row
from relatum.run import measure, run, watch
from relatum.run.hearing import Hearing, hear
from relatum.run.prepare import prepare
from relatum.run.watch import BANK
from relatum.types import Fault
from relatum.weights import load_weights
from tests.run.runs import CPU, Halts, equal, numbers, wrong

EVERYTHING = ("knn", "linear", "retrieval", "neighbours", "agreement", "gap")


@pytest.fixture
def unlabelled(recipe: Recipe) -> Recipe:
    """A training without labels, some images of which are held back."""
    return recipe.but(labels=False, validation=0.2, method="rkd+kd", epochs=3)


def test_all_is_measured_at_intervals_and_changes_nothing(
    unlabelled: Recipe, tmp_path: Path
) -> None:
    plain = run(unlabelled, tmp_path / "plain")
    watching = unlabelled.but(
        watch=EVERYTHING, watch_every=2, best_by="neighbours", gradient_norms=True
    )
    record = run(watching, tmp_path / "watched")
    assert equal(tmp_path / "plain", tmp_path / "watched")
    assert record.metrics["gap_cosine"] == plain.metrics["gap_cosine"]
    names = {"knn", "probe", "map", "map_at_r", "recall_1", "neighbours", "nearest", "gap_cosine"}
    wanted = {f"validation_{name}" for name in (*names, "agreement")}
    assert wanted <= set(record.rows[1].metrics)
    assert wanted <= set(record.rows[2].metrics)  # the last one, always
    assert {*record.rows[0].metrics} == {
        *("validation_agreement", "gradient_norm_rkd", "gradient_norm_kd")
    }
    course = [row.metrics.get("validation_neighbours", -1.0) for row in record.rows]
    assert record.best_epoch == course.index(max(course)) + 1
    assert "best is the epoch of the highest validation neighbours" in record.notes
    assert any("labels were read to watch knn, linear, retrieval" in each for each in record.notes)
    assert not any("labels were read" in each for each in plain.notes)
    # the numbers are those of the validation part, and of these weights
    ready = prepare(unlabelled, CPU)
    load_weights(ready.pair.student.network, tmp_path / "watched" / "student.safetensors")
    held = ready.sets.validation
    assert held is not None
    assert ready.pair.teacher is not None
    said, taught = hear(ready.pair.student, held), hear(ready.pair.teacher.tapped, held)
    last = record.rows[-1].metrics
    found = neighbours(said.values["embedding"], taught.values["embedding"])
    assert last["validation_neighbours"] == found["neighbours"]
    assert said.labels is not None
    ranked = retrieval(said.values["embedding"], said.labels)
    assert last["validation_map"] == ranked.mean_average_precision
    assert 10 < last["validation_map"] < 100
    assert {"neighbours", "nearest"} <= set(record.metrics)


def test_no_test_image_has_a_say(
    unlabelled: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = unlabelled.but(
        watch=("retrieval", "gap"), best_by="retrieval", learning_rate=0.4, schedule="constant"
    )
    record = run(recipe, tmp_path / "a")
    with monkeypatch.context() as patch:
        wrong(patch, "test")
        other = run(recipe.but(probes=("retrieval",)), tmp_path / "b")
    assert other.best_epoch == record.best_epoch
    assert [row.metrics for row in other.rows] == [row.metrics for row in record.rows]
    assert "map" in other.metrics
    assert "map" not in record.metrics


def test_the_least_gap_is_the_best() -> None:
    rows = [
        Row(
            epoch=number,
            learning_rate=0.1,
            losses={},
            metrics={} if gap is None else {"validation_gap_cosine": gap},
            steps=1,
            samples=1,
            seconds=1.0,
        )
        for number, gap in enumerate((0.5, None, 0.2, 0.2, 0.3), start=1)
    ]
    assert watch.best_row(rows, "gap_cosine") == 2
    assert watch.best_row(rows, "knn") is None


def test_resumed_within_an_epoch_it_has_the_same_rows(unlabelled: Recipe, tmp_path: Path) -> None:
    recipe = unlabelled.but(
        watch=("linear", "neighbours"), best_by="neighbours", gradient_norms=True, epochs=2
    )
    whole = run(recipe, tmp_path / "whole")
    halts = Halts(12)
    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "cut", stop=halts.stop, display=halts)
    again = run(recipe, tmp_path / "cut", resume=True)
    assert numbers(again) == numbers(whole)
    for name in ("student.safetensors", "best.safetensors"):
        assert equal(tmp_path / "whole", tmp_path / "cut", name)


def test_a_student_alone_leaves_out_what_needs_a_teacher(recipe: Recipe, tmp_path: Path) -> None:
    alone = recipe.but(method="none", teacher=None, epochs=1, validation=0.1)
    record = run(alone.but(watch=("neighbours", "knn"), best_by="neighbours"), tmp_path)
    assert "neighbours is not watched: there is no teacher to compare with" in record.notes
    assert "validation_knn" in record.rows[0].metrics
    assert record.best_epoch is None
    assert not any("best is" in note for note in record.notes)


def without_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    place: Any = import_module("relatum.run.prepare")
    load = place.sets_of

    def loaded(*args: Any) -> Any:
        sets = load(*args)
        parts = ("train", "validation", "test")
        for part in parts:
            if (data := getattr(sets, part)) is not None:
                object.__setattr__(sets, part, data.unlabelled())
        object.__setattr__(sets, "classes", ())
        return sets

    monkeypatch.setattr(place, "sets_of", loaded)


def test_a_set_without_labels_is_judged_by_its_teacher(
    unlabelled: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_labels(monkeypatch)
    recipe = unlabelled.but(watch=("neighbours", "agreement", "gap"), best_by="agreement", epochs=1)
    record = run(recipe.but(probes=("knn", "retrieval")), tmp_path / "a")
    assert {"neighbours", "agreement", "gap_cosine"} <= set(record.metrics)
    assert not {"knn", "map", "top1"} & set(record.metrics)
    assert record.best_epoch == 1
    for each in ("knn", "retrieval"):
        with pytest.raises(Fault, match=f"watch {each} wants labels, and .* has none"):
            run(recipe.but(watch=(each,), best_by=None), tmp_path / "b")
    assert not (tmp_path / "b" / "recipe.json").exists()


def test_what_is_told_of_a_large_set_is_said(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "BANK", 100)
    monkeypatch.setattr(measure, "NEAR", 50)
    recipe = recipe.but(validation=0.1, watch=("knn", "neighbours"))
    ready = prepare(recipe, CPU)
    watching = watch.Watch(recipe, ready.pair, ready.sets, Hearing())
    told = "; ".join(watching.notes(chosen=True))
    assert "neighbours are those among 50 of the 359 test images" in told
    assert "k-NN and probes had 100 of the 1,294 training images" in told
    assert "neighbours were those among 50 of the 144 validation images" in told
    found = watching.after(1, 1, ready.stages[-1].objective)
    assert {"validation_knn", "validation_neighbours"} <= set(found)
    assert len(watching._bank) == 100
    assert BANK == 10_000


def test_norms_that_cannot_be_had_are_left_out(recipe: Recipe, tmp_path: Path) -> None:
    record = run(recipe.but(gradient_norms=True, microbatch=16, epochs=1), tmp_path)
    assert any("norms of gradients are left out: the batches" in note for note in record.notes)
    assert not record.rows[0].metrics


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"watch": ("knn",)}, "--set validation=0.1"),
        ({"best_by": "gap"}, "--set validation=0.1"),
        ({"validation": 0.1, "watch": ("knn",), "best_by": "gap"}, "--set watch=knn,gap"),
        ({"validation": 0.1, "best_by": "top1", "labels": False}, "labels is false"),
        ({"validation": 0.1, "watch": ("cka",)}, "should be 'knn', 'linear'"),
    ],
)
def test_what_does_not_agree_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(Fault, match=says):
        Recipe.of(changes)


def test_evaluating_leaves_randomness_alone(unlabelled: Recipe) -> None:
    recipe = unlabelled.but(watch=EVERYTHING)
    ready = prepare(recipe, CPU)
    before = torch.get_rng_state()
    watch.Watch(recipe, ready.pair, ready.sets, Hearing()).after(1, 1, ready.stages[-1].objective)
    assert torch.equal(before, torch.get_rng_state())


def test_so_few_images_that_they_say_little_are_told_of(unlabelled: Recipe) -> None:
    def said(recipe: Recipe) -> list[str]:
        ready, told = prepare(recipe, CPU), list[str]()
        watch.Watch(recipe, ready.pair, ready.sets, Hearing()).check(
            ready.stages[-1].objective, told.append
        )
        return told

    watching = unlabelled.but(watch=("knn", "neighbours"), batch_size=32)
    few = said(watching.but(validation=0.02, samples=140))
    assert len(few) == 2
    assert "a class has 14 on average" in few[0]
    assert few[1] == "neighbours among 29 validation images are shared by chance to 35.7 %"
    assert said(watching) == []
