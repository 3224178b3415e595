"""A run whose teacher is a table: trained by it, compared with it where it has rows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from relatum.bench import Cell
from relatum.bench.rehearsal import rehearse
from relatum.datasets import load
from relatum.doctor.teacher import examine_teacher
from relatum.recipes.recipe import Recipe
from relatum.record import Record
from relatum.run import run
from relatum.run.again import evaluate_again
from relatum.run.hearing import listen
from relatum.run.networks import tap
from relatum.run.prepare import prepare
from relatum.run.sets import sets_of
from relatum.run.trained import trained
from relatum.types import Fault
from tests.run.runs import CPU, equal, numbers

WHOLE = 1797


@pytest.fixture(scope="session")
def said(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the trained teacher says of all digits, in the order of the whole set."""
    recipe = Recipe(teacher=str(taught))
    sets = sets_of(recipe, CPU)
    source = trained(str(taught), sets)
    network = tap(source.network, source.input, sets.train.float(slice(0, 2)))
    rows = {"embedding": torch.empty(WHOLE, 64), "logits": torch.empty(WHOLE, 10)}
    for part in (sets.train, sets.test):
        assert part.places is not None
        heard = listen(network, part, ("output", "embedding")).values
        if rows["embedding"].shape[1] != heard["embedding"].shape[1]:
            rows["embedding"] = torch.empty(WHOLE, heard["embedding"].shape[1])
        rows["embedding"][part.places] = heard["embedding"].flatten(1)
        rows["logits"][part.places] = heard["output"]
    path = tmp_path_factory.mktemp("said") / "said.safetensors"
    save_file(rows, path)
    return path


def test_it_teaches_as_the_network_that_said_it(recipe: Recipe, said: Path, tmp_path: Path) -> None:
    live = run(recipe.but(method="rrkd+kd", epochs=1), tmp_path / "live")
    table = recipe.but(method="rrkd+kd", epochs=1, teacher=f"table:{said}")
    found = run(table, tmp_path / "table")
    assert found.rows[0].losses == pytest.approx(live.rows[0].losses, rel=1e-4)
    assert found.metrics.keys() == live.metrics.keys()
    for name in ("agreement", "gap_cosine", "neighbours", "top1"):
        assert found.metrics[name] == pytest.approx(live.metrics[name], rel=0.05), name
    assert found.teacher is not None
    assert live.teacher is not None
    assert found.teacher.name == "table:said.safetensors"
    assert found.teacher.parameters == 0
    assert found.teacher.metrics["top1"] == pytest.approx(live.teacher.metrics["top1"])
    again = evaluate_again(tmp_path / "table")
    assert again["gap_cosine"] == pytest.approx(found.metrics["gap_cosine"])


def test_it_goes_on_to_the_same_bits_and_only_by_the_same_table(
    recipe: Recipe, said: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.npy"
    np.save(other, np.random.default_rng(0).normal(size=(WHOLE, 6)))
    made = recipe.but(method="rrkd", teacher=f"table:{said}", augment=("flip",))
    whole = run(made, tmp_path / "whole")
    assert "a table has one row for an image, however that is augmented" in whole.notes
    assert run(made, tmp_path / "whole", resume=True) == whole
    with pytest.raises(Fault, match="holds a run that learnt from another table"):
        run(made.but(teacher=f"table:{other}"), tmp_path / "whole", resume=True)
    run(made.but(seed=1), tmp_path / "parts", overwrite=True)
    run(made, tmp_path / "twice")
    assert equal(tmp_path / "whole", tmp_path / "twice")
    assert numbers(Record.load(tmp_path / "twice")) == numbers(whole)


def test_without_test_rows_nothing_is_compared_and_it_says_so(
    recipe: Recipe, tmp_path: Path
) -> None:
    path = tmp_path / "train.npy"
    train = len(load("digits").train)
    np.save(path, np.random.default_rng(0).normal(size=(train, 6)).astype(np.float16))
    made = recipe.but(
        method="rrkd",
        teacher=f"table:{path}",
        epochs=1,
        validation=0.2,
        samples=300,
        labels=False,
        probes=("knn",),
    )
    record = run(made, tmp_path / "run")
    note = "train.npy has no row for 359 of 359 test images, so the student is not compared with it"
    assert [each for each in record.notes if each.startswith(note)]
    assert not {"gap_cosine", "neighbours", "agreement"} & set(record.metrics)
    assert "knn" in record.metrics
    assert "validation_gap_cosine" in record.rows[0].metrics
    assert record.best_epoch == 1
    assert record.teacher is not None
    assert record.teacher.metrics == {}


def test_a_table_that_lacks_an_image_is_refused_before_anything_is_written(
    recipe: Recipe, said: Path, tmp_path: Path
) -> None:
    rows = torch.randn(WHOLE, 4)
    train = load("digits").train
    assert train.places is not None
    place = int(train.places[17])
    rows[place, 1] = torch.nan
    save_file({"embedding": rows}, tmp_path / "nan.safetensors")
    made = recipe.but(method="rrkd", teacher=f"table:{tmp_path / 'nan.safetensors'}")
    with pytest.raises(Fault, match=rf"embedding in row {place} \(image 17\) is not finite; mend"):
        run(made, tmp_path / "run")
    save_file({"embedding": rows[:900]}, tmp_path / "short.safetensors")
    with pytest.raises(Fault, match=r"has 900 rows.* 1,438 training images and 359 test images"):
        run(made.but(teacher=f"table:{tmp_path / 'short.safetensors'}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_rows_of_zeros_are_counted_and_nothing_but_those_is_refused(
    recipe: Recipe, tmp_path: Path
) -> None:
    rows = np.random.default_rng(0).normal(size=(len(load("digits").train), 6))
    rows[[3, 5]] = 0
    np.save(tmp_path / "some.npy", rows)
    np.save(tmp_path / "all.npy", 0 * rows)
    made = recipe.but(method="rrkd", teacher=f"table:{tmp_path / 'some.npy'}")
    ready = prepare(made, CPU)
    note = "the embedding of 2 of 1,438 training images in some.npy is zeros"
    assert any(each.startswith(note) for each in ready.notes(made))
    found = {each.check: each for each in examine_teacher(ready.pair, ready.sets)}
    assert found["teacher's table"].level == "warning"
    assert note in found["teacher's table"].text
    with pytest.raises(Fault, match="embedding of all 1,438 training images is zeros"):
        prepare(made.but(teacher=f"table:{tmp_path / 'all.npy'}"), CPU)


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        ("at", "the tap 'stages': the student has .*, the teacher embedding; name one"),
        ("srrl", "teacher does not end in a linear layer"),
        ("kd", "the student gives 10 logits and the teacher an embedding"),
        ("rrkd@maps", "the teacher embedding; name one"),
        ("rrkd@output", "both networks need the tap 'output'.*, the teacher embedding; name one"),
    ],
)
def test_methods_that_want_more_than_a_table_has_are_refused(
    method: str, wanted: str, recipe: Recipe, tmp_path: Path
) -> None:
    np.save(tmp_path / "e.npy", np.random.default_rng(0).normal(size=(WHOLE, 6)))
    made = recipe.but(method=method, teacher=f"table:{tmp_path / 'e.npy'}")
    with pytest.raises(Fault, match=wanted) as fault:
        prepare(made, CPU)
    assert "\n" not in str(fault.value)


def test_logits_alone_teach_logits_alone(recipe: Recipe, said: Path) -> None:
    logits = said.with_name("logits.npy")
    np.save(logits, np.random.default_rng(0).normal(size=(WHOLE, 10)))
    made = recipe.but(method="kd", teacher=f"table:{logits}#logits")
    ready = prepare(made, CPU)
    assert ready.pair.setting.shares_classes
    ready.distiller(ready.stages[0])
    with pytest.raises(Fault, match=r"both networks need the tap 'embedding'.* the teacher output"):
        prepare(made.but(method="rrkd"), CPU)


def test_a_rehearsal_sees_a_table(recipe: Recipe, said: Path, tmp_path: Path) -> None:
    made = recipe.but(method="rrkd", teacher=f"table:{said}")
    rehearse([Cell("rrkd", "rrkd", made)], tmp_path, device=CPU)
    gone = Cell("rrkd", "rrkd", made.but(teacher="table:gone.npy"))
    with pytest.raises(Fault, match="there is no such file"):
        rehearse([gone], tmp_path, device=CPU)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"cache": "cache"}, "'table:e.npy' holds what it says itself; leave the cache out"),
        ({"shard": ("teacher",)}, "shard parts networks, and 'table:e.npy' is a table"),
        ({"teacher_precision": "bfloat16"}, "a table computes nothing"),
        ({"teacher": "table:a.npy,table:b.npy", "cache": "cache"}, "leave the cache out"),
        ({"teacher": "table:e.csv#lable=x"}, "behind '#' stand the names of columns"),
        ({"teacher": "table:a.npy,,b"}, "one of them has no name"),
        ({"teacher": "table:e.txt"}, r"a table is one of .npy, .safetensors"),
    ],
)
def test_what_is_for_a_network_is_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(Fault, match=why):
        Recipe(teacher="table:e.npy").but(**changes)
