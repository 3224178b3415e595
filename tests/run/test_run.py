"""One run: what it leaves behind, and that nothing about it depends on chance."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from relatum.data.image_set import ImageSet
from relatum.distiller import Distiller
from relatum.methods import METHODS
from relatum.models import create
from relatum.recipes.recipe import Recipe
from relatum.record import Record
from relatum.run import Silent, run
from relatum.run.again import evaluate_again
from relatum.run.claim import FILES, TRACKING
from relatum.run.prepare import prepare
from relatum.run.profiled import FILES as PROFILED
from relatum.tally import NotFinite
from relatum.types import Fault
from relatum.weights import about_weights, fingerprint, load_weights
from tests.run.runs import CPU, equal, numbers, weights, wrong


def test_what_it_leaves_behind(recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "new" / "run"
    record = run(recipe.but(validation=0.1), out, label="mine")
    later = {
        "report.html",
        "maps.safetensors",
        "cost.json",
        TRACKING,
        *PROFILED,
    }  # by a report, by options
    assert {path.name for path in out.iterdir()} == set(FILES) - later
    assert Recipe.read(out / "recipe.json") == recipe.but(validation=0.1)
    assert Record.load(out) == record
    assert record.label == "mine"
    assert record.samples == {"train": 1294, "validation": 144, "test": 359}
    assert record.steps == 2 * (1294 // 128)
    assert record.parameters == 1009
    assert [json.loads(line)["epoch"] for line in (out / "metrics.jsonl").open()] == [1, 2]
    assert set(record.rows[0].losses) == {"ce", "rrkd"}
    assert record.teacher is not None
    assert record.teacher.name == "digits-cnn-large"
    assert record.teacher.weights_sha256 == fingerprint(loaded("digits-cnn-large", recipe.teacher))
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    assert all(name.startswith(("student.", "objective.")) for name in state["learner"])
    student = create("digits-cnn-small", channels=1, size=8, classes=10)
    assert set(weights(out)) == set(student.state_dict())
    assert about_weights(out / "student.safetensors")["model"] == "digits-cnn-small"
    assert set(load_file(out / "relations.safetensors")) == {
        "indices",
        "labels",
        "student",
        "teacher",
    }


def loaded(model: str, folder: str | None) -> torch.nn.Module:
    network = create(model, channels=1, size=8, classes=10).eval()
    load_weights(network, Path(str(folder)) / "student.safetensors")
    return network


def test_its_accuracy_is_that_of_its_weights(recipe: Recipe, tmp_path: Path) -> None:
    record = run(recipe, tmp_path)
    network = loaded("digits-cnn-small", str(tmp_path))
    sets = prepare(recipe, CPU).sets
    images = sets.test.float(slice(None))
    with torch.no_grad():
        guessed = network((images - sets.input.mean[0]) / sets.input.std[0]).argmax(1)
    assert sets.test.labels is not None
    right = (guessed == sets.test.labels).double().mean().item() * 100
    assert record.metrics["top1"] == pytest.approx(right)


def test_measured_again_it_is_the_same(recipe: Recipe, tmp_path: Path) -> None:
    record = run(recipe.but(probes=("knn",), validation=0.1), tmp_path)
    again = evaluate_again(tmp_path, probes=("knn",))
    wanted = {name: record.metrics[name] for name in again}
    assert again == pytest.approx(wanted)
    assert set(record.metrics) - set(again) == {
        "kept",
        *(name for name in record.metrics if name.startswith("best_")),
    }
    best = evaluate_again(tmp_path, best=True)
    assert {f"best_{name}": each for name, each in best.items()} == pytest.approx(
        {name: each for name, each in record.metrics.items() if name.startswith("best_")}
    )


def test_measuring_again_without_a_best_epoch_is_refused(taught: Path) -> None:
    with pytest.raises(Fault, match="no best epoch: no validation part"):
        evaluate_again(taught, best=True)


@pytest.mark.parametrize("method", ["rrd", "lp"])
def test_two_runs_with_one_seed_are_the_same_to_the_bit(
    recipe: Recipe, tmp_path: Path, method: str
) -> None:
    recipe = recipe.but(method=method, augment=("crop",), epochs=1)
    first, second = (run(recipe, tmp_path / name) for name in "ab")
    torch.rand(5)
    assert numbers(first) == numbers(second)
    assert equal(tmp_path / "a", tmp_path / "b")
    other = run(recipe.but(seed=1), tmp_path / "c")
    assert numbers(other) != numbers(first)


def test_methods_start_from_the_same_student_and_see_the_same_batches(recipe: Recipe) -> None:
    starts: list[str] = []
    seen: list[list[list[int]]] = []
    images: list[float] = []
    for method, about in METHODS.items():
        try:
            ready = prepare(recipe.but(method=method, augment=("crop",)), CPU)
        except Fault:  # not for this pair, as FSP, which needs equal channels
            continue
        if about.adopt is not None:  # another network stands in the student's place
            continue
        starts.append(fingerprint(ready.pair.student.network))
        batches = list(ready.batches.epoch(2))
        seen.append([batch.indices.tolist() for batch in batches])
        images.append(float(sum(batch.images.double().sum() for batch in batches)))
    assert len(starts) > 9
    assert len(set(starts)) == 1
    assert all(each == seen[0] for each in seen)
    assert len(set(images)) == 1
    alone = prepare(recipe.but(method="none", teacher=None), CPU)
    assert fingerprint(alone.pair.student.network) == starts[0]
    other = prepare(recipe.but(seed=1), CPU)
    assert fingerprint(other.pair.student.network) != starts[0]
    assert [b.indices.tolist() for b in other.batches.epoch(2)] != seen[0]


# The teacher ------------------------------------------------------------------------------------


def test_a_teacher_is_a_folder_a_file_or_a_model_with_its_file(
    recipe: Recipe, taught: Path, tmp_path: Path
) -> None:
    file = taught / "student.safetensors"
    names = (str(taught), str(file), f"digits-cnn-large@{file}")
    recipe = recipe.but(epochs=1)
    found = [run(recipe.but(teacher=name), tmp_path / str(at)) for at, name in enumerate(names)]
    assert len({each.teacher.weights_sha256 for each in found if each.teacher}) == 1
    assert equal(tmp_path / "0", tmp_path / "1")
    assert equal(tmp_path / "0", tmp_path / "2")
    before = Record.load(taught).metrics["top1"]
    for each in found:
        assert each.teacher is not None
        assert each.teacher.metrics["top1"] == pytest.approx(before)
        assert each.metrics["kept"] == pytest.approx(100 * each.metrics["top1"] / before)


def test_the_teacher_is_as_it_was(recipe: Recipe, taught: Path, tmp_path: Path) -> None:
    before = (taught / "student.safetensors").read_bytes()
    seen: list[str] = []

    def look(distiller: Distiller, train: ImageSet) -> None:
        seen.append(fingerprint(distiller.teacher.network))  # type: ignore[union-attr]

    record = run(recipe, tmp_path, alter=look)
    assert record.teacher is not None
    assert seen == [record.teacher.weights_sha256]
    assert record.teacher.macs == Record.load(taught).macs
    assert (taught / "student.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        ("nobody", "the teacher 'nobody' is no folder of a run and no file"),
        ("{empty}", "holds no trained network"),
        ("digits-cnn-large@{empty}/absent", "there is no file"),
        ("digits-cnn-small@{file}", "is of another network"),
        ("digits-cnn-larg@{file}", "no model is called 'digits-cnn-larg'"),
    ],
)
def test_a_teacher_that_cannot_be_had(
    recipe: Recipe, taught: Path, tmp_path: Path, teacher: str, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    name = teacher.format(empty=tmp_path / "empty", file=taught / "student.safetensors")
    with pytest.raises(Fault) as caught:
        run(recipe.but(teacher=name), tmp_path / "run")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_method_that_needs_a_teacher_has_none(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="learns from a teacher, but there is none"):
        run(recipe.but(teacher=None), tmp_path)


# Without labels, without classes ----------------------------------------------------------------


def test_without_labels(recipe: Recipe, tmp_path: Path) -> None:
    record = run(recipe.but(labels=False, epochs=1), tmp_path)
    assert set(record.rows[0].losses) == {"rrkd"}
    assert set(record.idle) == {"fc.weight", "fc.bias"}
    assert "the student learns from its teacher alone: no labels are used" in record.notes
    assert not {"top1", "best_top1", "kept"} & set(record.metrics)
    assert {"gap_cosine", "cka"} <= set(record.metrics)


def test_what_learns_in_one_stage_is_not_idle(recipe: Recipe, tmp_path: Path) -> None:
    """AB's first stage does not reach the classifier, FT's second not the paraphraser."""
    brief = recipe.but(epochs=1)
    assert run(brief.but(method="ab"), tmp_path / "ab").idle == ()
    assert run(brief.but(method="ft"), tmp_path / "ft").idle == ()
    unlabelled = run(brief.but(method="ft", labels=False), tmp_path / "unlabelled")
    assert set(unlabelled.idle) == {"fc.weight", "fc.bias"}


def test_labels_that_may_not_be_used_change_nothing(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe.but(labels=False, epochs=1)
    run(recipe, tmp_path / "a")
    wrong(monkeypatch, "train")
    run(recipe, tmp_path / "b")
    assert equal(tmp_path / "a", tmp_path / "b")


def test_an_auto_encoder(recipe: Recipe, tmp_path: Path) -> None:
    large = recipe.but(student="mnist-ae-64", method="none", teacher=None, epochs=1)
    before = run(large, tmp_path / "teacher")
    assert set(before.rows[0].losses) == {"reconstruction"}
    assert before.idle == ()
    assert before.metrics["reconstruction"] > 0
    taught = large.but(student="mnist-ae-32", method="rrkd", teacher=str(tmp_path / "teacher"))
    record = run(taught, tmp_path / "student")
    assert set(record.rows[0].losses) == {"rrkd"}
    assert record.idle
    assert all(name.startswith("decoder.") for name in record.idle)
    assert "reconstruction" not in record.metrics  # its decoder was never taught
    assert "gap_cosine" in record.metrics
    assert any("it puts out a reconstruction, no logits" in note for note in record.notes)
    kinds = {name for name in weights(tmp_path / "student") if name.startswith("decoder.")}
    assert kinds == set(record.idle)


def test_probes_are_fitted_on_what_it_holds(recipe: Recipe, tmp_path: Path) -> None:
    record = run(recipe.but(epochs=0, labels=False, probes=("linear", "knn")), tmp_path)
    assert record.rows == ()
    assert record.best_epoch is None
    assert record.seconds == 0
    assert 10 < record.metrics["probe"] <= 100
    assert 10 < record.metrics["knn"] <= 100
    assert record.teacher is not None
    assert {"probe", "knn"} <= set(record.teacher.metrics)
    assert evaluate_again(tmp_path, probes=("knn",))["knn"] == record.metrics["knn"]


def test_what_does_not_stay_finite_leaves_no_record(recipe: Recipe, tmp_path: Path) -> None:
    wild = recipe.but(method="none", teacher=None, learning_rate=1e30, schedule="constant")
    with pytest.raises(NotFinite, match="since step"):
        run(wild, tmp_path)
    assert not (tmp_path / "record.json").exists()


def test_the_display_is_told_of_everything(recipe: Recipe, tmp_path: Path) -> None:
    told: list[Any] = []

    class Tells(Silent):
        def begin(self, label: str, steps: int, done: int) -> None:
            told.append(("begin", label, steps, done))

        def advance(self) -> None:
            told.append("step")

        def epoch(self, row: Any, epochs: int) -> None:
            told.append(("epoch", row.epoch, epochs))

        def end(self, record: Record) -> None:
            told.append(("end", record.label))

    run(recipe, tmp_path, display=Tells())
    wanted: list[Any] = [("begin", "rrkd", 22, 0)]
    for epoch in (1, 2):
        wanted += [*["step"] * 11, ("epoch", epoch, 2)]
    assert told == [*wanted, ("end", "rrkd")]


def test_bfloat16(recipe: Recipe, tmp_path: Path) -> None:
    record = run(recipe.but(precision="bfloat16", method="sp+rrkd", epochs=1), tmp_path)
    assert all(each.dtype != torch.bfloat16 for each in weights(tmp_path).values())
    assert record.rows[0].losses["sp"] > 0
