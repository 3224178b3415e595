"""A recipe with a cache trains as without, and its teacher runs once."""

from pathlib import Path
from typing import Any

import pytest
import torch

from relatum.bench import Cell
from relatum.bench.rehearsal import rehearse
from relatum.cache import store
from relatum.checkpoint import Interrupted
from relatum.recipes.recipe import Recipe
from relatum.run import Silent, run
from relatum.run.claim import MOVABLE
from relatum.run.prepare import prepare
from relatum.teachers import CachedTeacher, Teacher
from relatum.types import Fault
from tests.run.runs import CPU, Halts, equal, numbers

VIEWED = {"augment": ("crop", "flip"), "views": 2}


def shards(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*.safetensors")}


@pytest.mark.parametrize("method", ["kd", "sp@embedding", "rrd", "rrkd", "none"])
@pytest.mark.parametrize("more", [{}, VIEWED], ids=["plain", "viewed"])
def test_vectors_give_the_same_training_to_the_bit(
    method: str, more: dict[str, Any], recipe: Recipe, tmp_path: Path
) -> None:
    """The batch is the same, and a sample's words do not hang on its neighbours here."""
    live = run(recipe.but(method=method, **more), tmp_path / "live")
    cached = recipe.but(method=method, cache=str(tmp_path / "cache"), **more)
    kept = run(cached, tmp_path / "cached")
    assert equal(tmp_path / "live", tmp_path / "cached")
    assert numbers(kept) == numbers(live)
    assert (tmp_path / "cache").exists() == (method != "none")


@pytest.mark.parametrize("method", ["sp", "fitnet", "at", "semckd", "srrl", "simkd", "ab", "ofd"])
def test_maps_give_nearly_the_same(method: str, recipe: Recipe, tmp_path: Path) -> None:
    """Methods that build on parts of the teacher have them, and those of two stages both."""
    made = recipe.but(method=method, learning_rate=0.002)
    live = run(made, tmp_path / "live").rows[0].losses
    kept = run(made.but(cache=str(tmp_path / "cache")), tmp_path / "cached").rows[0].losses
    assert kept == pytest.approx(live, rel=2e-2)


def test_anchors_still_ask_the_live_teacher(recipe: Recipe, tmp_path: Path) -> None:
    made = recipe.but(method="rrkd", anchors="confident-per-class", anchor_count=3)
    live = run(made, tmp_path / "live").rows[-1].losses
    kept = run(made.but(cache=str(tmp_path / "cache")), tmp_path / "cached").rows[-1].losses
    assert kept == pytest.approx(live, rel=1e-4)


def test_methods_share_what_they_have_in_common(recipe: Recipe, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    run(recipe.but(method="kd", cache=str(cache)), tmp_path / "kd")
    first = shards(cache)
    assert len(first) == 2  # 1,438 images of the output
    run(recipe.but(method="rrd", cache=str(cache)), tmp_path / "rrd")
    assert shards(cache) - first == {each for each in shards(cache) if "embedding" in each}
    both = shards(cache)
    run(recipe.but(method="rrd+kd", seed=1, cache=str(cache)), tmp_path / "both")
    assert shards(cache) == both


def test_a_rehearsal_with_a_stand_in_keeps_nothing(recipe: Recipe, tmp_path: Path) -> None:
    made = recipe.but(method="kd", cache=str(tmp_path / "cache"))
    assert type(prepare(made, CPU, stand_in="digits-cnn-large").teacher) is Teacher
    assert not (tmp_path / "cache").exists()
    assert type(prepare(made, CPU).teacher) is CachedTeacher


def test_the_progress_of_filling_is_told(recipe: Recipe, tmp_path: Path) -> None:
    told: list[object] = []

    class Told(Silent):
        def begin(self, label: str, steps: int, done: int) -> None:
            told.append((label, steps, done))

        def advance(self) -> None:
            told.append("on")

    made = recipe.but(method="kd", cache=str(tmp_path / "cache"), **VIEWED)
    prepare(made, CPU, progress=Told())
    assert told == [("teacher", 4, 0), *["on"] * 4]


def test_asked_to_stop_while_it_fills_a_run_stops_and_goes_on(
    recipe: Recipe, tmp_path: Path
) -> None:
    made = recipe.but(method="kd", cache=str(tmp_path / "cache"), augment=("flip",), views=3)
    halts = Halts(2)  # blocks of the cache, before any step
    with pytest.raises(Interrupted):
        run(made, tmp_path / "run", display=halts, stop=halts.stop)
    assert len(shards(tmp_path / "cache")) == 2
    run(made, tmp_path / "run", resume=True)
    assert len(shards(tmp_path / "cache")) == 6


def test_a_rehearsal_fills_nothing(recipe: Recipe, tmp_path: Path) -> None:
    made = recipe.but(method="kd", cache=str(tmp_path / "cache"))
    rehearse([Cell("kd", "kd", made)], tmp_path, device=CPU)
    assert not (tmp_path / "cache").exists()


def test_a_random_augmentation_is_refused_with_the_way_out(recipe: Recipe) -> None:
    with pytest.raises(Fault, match=r"another image every epoch; fix .*views=4\) .*augment="):
        recipe.but(cache="cache", augment=("flip",))
    with pytest.raises(Fault, match="this recipe augments nothing"):
        recipe.but(views=2)
    with pytest.raises(Fault, match="a teacher in parts"):
        recipe.but(cache="cache", shard=("teacher",))


def test_a_damaged_cache_stops_a_run_before_it_begins(recipe: Recipe, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    made = recipe.but(method="kd", cache=str(cache))
    run(made, tmp_path / "one")
    first = sorted(cache.rglob("*.safetensors"))[0]
    first.write_bytes(first.read_bytes()[:-3])
    with pytest.raises(Fault, match=r"is no whole shard .*; delete it, and it is computed again"):
        run(made.but(seed=1), tmp_path / "two")
    assert not (tmp_path / "two").exists()
    first.unlink()
    run(made.but(seed=1), tmp_path / "two")


def test_a_run_may_go_on_without_its_cache_or_with_one(recipe: Recipe, tmp_path: Path) -> None:
    assert "cache" in MOVABLE
    made = recipe.but(method="kd", cache=str(tmp_path / "cache"))
    before = run(made, tmp_path / "run")
    assert run(made.but(cache=None), tmp_path / "run", resume=True) == before
    moved = made.but(cache=str(tmp_path / "elsewhere"))
    assert run(moved, tmp_path / "run", resume=True) == before
    assert not (tmp_path / "elsewhere").exists()


def test_another_precision_is_another_cache(recipe: Recipe, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for changes in ({}, {"precision": "bfloat16"}, {"speed": "fast", "precision": "float32"}):
        made = recipe.but(method="rrd", cache=str(cache), **changes)
        ready = prepare(made, CPU)
        assert isinstance(ready.teacher, CachedTeacher)
        batch = next(ready.batches.epoch(1))
        with torch.autocast("cpu", torch.bfloat16, enabled=made.precision == "bfloat16"):
            live = ready.teacher.live(batch).read("embedding")
        kept = ready.teacher(batch).read("embedding")
        assert isinstance(live, torch.Tensor)
        assert isinstance(kept, torch.Tensor)
        assert kept.dtype == live.dtype
        torch.testing.assert_close(kept, live, rtol=2e-2, atol=2e-2)
    assert len(list(cache.glob(f"*/{store.MANIFEST}"))) == 3
