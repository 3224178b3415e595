"""Runs at every speed: equal bits where that is promised, close numbers elsewhere."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from relatum import Fault, speed
from relatum.data import Batches
from relatum.fit import fit
from relatum.recipes.recipe import Recipe
from relatum.record import WEIGHTS
from relatum.run import run
from relatum.run.prepare import Prepared, optimizer_of, prepare
from relatum.speed import Word
from tests.processes import long

CPU = torch.device("cpu")
compiler = pytest.mark.skipif(speed._missing(CPU) is not None, reason="needs a C++ compiler")


def losses_of(recipe: Recipe, steps: int = 8) -> list[dict[str, float]]:
    """Of the first steps, one after the other."""
    ready = prepare(recipe, CPU)
    distiller, _ = ready.distiller(ready.stages[0])
    optimizer = optimizer_of(recipe, distiller)
    few = Batches(ready.sets.train.take(torch.arange(64)), 64, seed=recipe.seed)
    return [
        dict(epoch.losses)
        for epoch in fit(
            distiller,
            few,
            optimizer,
            recipe.schedule_of(),
            steps,
            precision=ready.speed.precision,
        )
    ]


@pytest.mark.parametrize("method", ["sp+kd", "rrd", "rrkd"])
def test_exact_gives_the_same_bits_again(recipe: Recipe, tmp_path: Path, method: str) -> None:
    recipe = recipe.but(method=method, speed="exact")
    one, other = (run(recipe, tmp_path / each) for each in "ab")
    kept = [load_file(tmp_path / each / WEIGHTS) for each in "ab"]
    assert all(torch.equal(value, kept[1][key]) for key, value in kept[0].items())
    assert one.metrics == other.metrics
    assert [row.losses for row in one.rows] == [row.losses for row in other.rows]


@pytest.mark.parametrize("method", ["sp", "rrkd", "rrd", "kd"])
def test_fast_stays_near(recipe: Recipe, method: str) -> None:
    recipe = recipe.but(method=method, dropout=None)
    exact = losses_of(recipe)
    fast = losses_of(recipe.but(speed="fast", precision="bfloat16"))
    assert exact != fast
    for mine, its in zip(exact, fast, strict=True):
        assert mine.keys() == its.keys()
        for name in mine:
            assert its[name] == pytest.approx(mine[name], rel=0.03, abs=2e-3), (name, mine, its)


def test_fast_says_what_it_did(recipe: Recipe, tmp_path: Path) -> None:
    record = run(recipe.but(speed="fast", precision="bfloat16"), tmp_path)
    assert record.environment["precision"] == "bfloat16"
    said = next(note for note in record.notes if note.startswith("speed fast"))
    assert "bfloat16" in said
    assert "norms of the teacher folded" in said
    assert not any(note.startswith("speed") for note in run(recipe, tmp_path / "b").notes)


def test_the_weights_of_a_fast_run_are_like_any(recipe: Recipe, tmp_path: Path) -> None:
    run(recipe.but(speed="fast"), tmp_path / "fast")
    run(recipe, tmp_path / "exact")
    fast, exact = (load_file(tmp_path / each / WEIGHTS) for each in ("fast", "exact"))
    assert {k: (v.shape, v.dtype) for k, v in fast.items()} == {
        k: (v.shape, v.dtype) for k, v in exact.items()
    }
    again = run(recipe.but(teacher=str(tmp_path / "fast"), student="digits-cnn-small"), tmp_path)
    assert again.teacher is not None
    assert again.teacher.name == "digits-cnn-small"


def test_another_precision_is_another_run(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``auto`` means another precision on another machine: a checkpoint does not mix them."""
    recipe = recipe.but(speed="fast", epochs=1)
    monkeypatch.setattr(speed, "half_here", lambda _: True)
    run(recipe, tmp_path)
    (tmp_path / "record.json").unlink()
    monkeypatch.setattr(speed, "half_here", lambda _: False)
    with pytest.raises(Fault, match=r"another run \(precision"):
        run(recipe, tmp_path, resume=True)


def compiled_graphs() -> int:
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def trained(recipe: Recipe, word: Word) -> tuple[Prepared, dict[str, float]]:
    ready = prepare(recipe.but(speed=word), CPU)
    distiller, _ = ready.distiller(ready.stages[0])
    optimizer = optimizer_of(recipe, distiller)
    (epoch,) = fit(
        distiller,
        ready.batches,
        optimizer,
        recipe.schedule_of(),
        1,
        precision=ready.speed.precision,
    )
    return ready, dict(epoch.losses)


@long
@compiler
def test_max_compiles_once(recipe: Recipe) -> None:
    """Both networks are compiled; another run of the same pair compiles nothing anew."""
    recipe = recipe.but(method="sp", epochs=1, drop_last=True)
    before = compiled_graphs()
    _, fast = trained(recipe, "fast")
    assert compiled_graphs() == before
    _, most = trained(recipe, "max")
    first = compiled_graphs()
    assert first == before + 2
    trained(recipe.but(seed=1), "max")
    assert compiled_graphs() == first
    for name, value in fast.items():
        assert most[name] == pytest.approx(value, rel=0.03, abs=2e-3)
