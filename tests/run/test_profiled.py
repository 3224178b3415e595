"""A run that is watched: the same bits, and a page that says where its time went.

Run as a module this file is one of two processes that train together.
"""

import contextlib
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

from relatum import together
from relatum.checkpoint import Interrupted
from relatum.profiling import watched
from relatum.recipes.recipe import Recipe
from relatum.record import Record, Row
from relatum.run import Silent, run
from relatum.run.profiled import FILES, FOLDER, NUMBERS, TEXT, TRACE, asked
from relatum.types import Fault
from tests.processes import join, start
from tests.run.runs import Halts, equal, numbers, weights

STEPS = 11
"""An epoch of the recipe."""
TOGETHER = Recipe(student="digits-cnn-small", epochs=2, batch_size=128, learning_rate=0.1)


class Notes(Silent):
    def __init__(self) -> None:
        self.notes = list[str]()

    def note(self, text: str) -> None:
        self.notes.append(text)


def page(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / NUMBERS).read_text())
    return found


def names(parts: list[dict[str, Any]]) -> list[str]:
    return [part["name"] for part in parts]


@pytest.fixture
def eventful(recipe: Recipe) -> Recipe:
    """Augmented, validated, with a queue: all that randomness and labels could disturb."""
    return recipe.but(method="rrd+kd", augment=("crop",), validation=0.02, epochs=4)


def test_the_bits_are_the_same_with_and_without(eventful: Recipe, tmp_path: Path) -> None:
    plain = run(eventful, tmp_path / "plain")
    assert not (tmp_path / "plain" / FOLDER).exists()
    display = Notes()
    before = time.perf_counter()
    with asked(5):
        record = run(eventful, tmp_path / "seen", display=display)
    took = time.perf_counter() - before
    assert numbers(record) == numbers(plain)
    for name in ("student.safetensors", "best.safetensors", "relations.safetensors"):
        assert equal(tmp_path / "plain", tmp_path / "seen", name)
    found = page(tmp_path / "seen")
    assert found["steps"] == 4 * STEPS
    assert found["timed"] == 4 * STEPS - 10 - 7
    assert found["traced"] == 5
    assert 0.5 * took < found["seconds"] < took
    assert sum(part["time"] for part in found["run"]) == pytest.approx(found["seconds"])
    whole = [part for part in found["step"] if "/" not in part["name"]]
    assert sum(part["time"] for part in whole) == pytest.approx(found["milliseconds"])
    assert names(whole) == [
        *("data", "teacher", "student", "losses", "backward", "update", "wait", "step")
    ]
    terms = [part for part in found["step"] if "/" in part["name"]]
    assert names(terms) == ["losses/ce", "losses/rrd", "losses/kd"]
    assert all(part["calls"] == 1 for part in (*whole[:6], *terms))
    assert sum(part["time"] for part in terms) <= whole[3]["time"]
    (told,) = display.notes
    assert (tmp_path / "seen" / TEXT).read_text().strip() in told
    assert str(tmp_path / "seen") in told


def test_the_trace_opens_and_holds_the_labels(recipe: Recipe, tmp_path: Path) -> None:
    with asked(3):
        run(recipe, tmp_path)
    events = json.loads((tmp_path / TRACE).read_text())["traceEvents"]
    labels = [each["name"] for each in events if each.get("cat") == "user_annotation"]
    for name in ("data", "teacher", "student", "losses/rrkd", "backward", "update"):
        assert labels.count(name) == 3, name
    assert {part["name"] for part in page(tmp_path)["operators"]} >= {"aten::convolution_backward"}


def test_the_first_run_of_each_label_is_profiled(recipe: Recipe, tmp_path: Path) -> None:
    recipe = recipe.but(epochs=1)
    display = Notes()
    with asked(1):
        for label, seed in (("sp", 0), ("sp", 1), ("kd", 0), ("kd", 1)):
            again = recipe.but(method=label, seed=seed)
            run(again, tmp_path / f"{label}-{seed}", label=label, display=display)
    seen = {path.parent.name for path in tmp_path.glob(f"*/{FOLDER}")}
    assert seen == {"sp-0", "kd-0"}
    assert len(display.notes) == 2
    run(recipe.but(seed=2), tmp_path / "later")
    assert not (tmp_path / "later" / FOLDER).exists()


@pytest.mark.parametrize("after", [5, 13, 15, 30])
def test_a_run_that_stops_leaves_a_page_and_goes_on(
    eventful: Recipe, tmp_path: Path, after: int
) -> None:
    """Among the first steps, while they are traced, after that."""
    whole = run(eventful, tmp_path / "whole")
    display = Halts(after)
    with asked(2), pytest.raises(Interrupted):
        run(eventful, tmp_path / "cut", stop=display.stop, display=display)
    assert not watched()
    found = page(tmp_path / "cut")
    assert found["steps"] == after + 1, "it is asked to stop where it asks for the next batch"
    assert found["title"].endswith("stopped by Interrupted")
    with asked(2):
        record = run(eventful, tmp_path / "cut", resume=True)
    assert numbers(record) == numbers(whole)
    assert equal(tmp_path / "whole", tmp_path / "cut")
    assert page(tmp_path / "cut")["steps"] == 4 * STEPS - found["steps"]


def test_a_finished_run_is_only_read(recipe: Recipe, tmp_path: Path) -> None:
    run(recipe, tmp_path)
    with asked(1):
        run(recipe, tmp_path, resume=True)
    assert not (tmp_path / FOLDER).exists()


def test_what_is_refused_leaves_nothing(recipe: Recipe, tmp_path: Path) -> None:
    with asked(1), pytest.raises(Fault):
        run(recipe.but(teacher=str(tmp_path / "nobody")), tmp_path / "run")
    assert not (tmp_path / "run" / FOLDER).exists()
    assert not watched()


class Breaks(Silent):
    def epoch(self, row: Row, epochs: int) -> None:
        raise ArithmeticError("the display broke")

    def note(self, text: str) -> None:
        raise OSError("there is no room")


def test_what_went_wrong_first_is_what_is_told(recipe: Recipe, tmp_path: Path) -> None:
    with asked(1), pytest.raises(ArithmeticError):
        run(recipe, tmp_path, display=Breaks())
    assert page(tmp_path)["title"].endswith("stopped by ArithmeticError")


def test_microbatches_are_told_apart(recipe: Recipe, tmp_path: Path) -> None:
    with asked(2):
        run(recipe.but(microbatch=32, method="sp"), tmp_path)
    calls = {part["name"]: part["calls"] for part in page(tmp_path)["step"]}
    assert calls["teacher"] == 4
    assert calls["student"] == 8, "once without a graph, and once with it"
    assert calls["losses/sp"] == calls["backward"] == 1


def test_a_method_of_two_stages_is_one_run(recipe: Recipe, tmp_path: Path) -> None:
    with asked(2):
        record: Record = run(recipe.but(method="ab", epochs=3), tmp_path)
    assert {row.stage for row in record.rows} == {0, 1}
    found = page(tmp_path)
    assert found["steps"] == STEPS * len(record.rows)
    parts = {part["name"]: part["time"] for part in found["run"]}
    assert sum(parts.values()) == pytest.approx(found["seconds"])
    assert parts["rest"] < 0.2 * found["seconds"], "what is between the stages has its names"


def test_a_run_of_no_epochs_says_that_there_is_no_step(recipe: Recipe, tmp_path: Path) -> None:
    with asked(1):
        run(recipe.but(epochs=0), tmp_path)
    assert page(tmp_path)["notes"] == ["no step was taken, so none is shown"]
    assert page(tmp_path)["step"] == []


def test_a_profile_is_of_a_step_at_least() -> None:
    with pytest.raises(Fault, match="one step at least, got 0"), asked(0):
        pass


def test_its_files_lie_in_one_folder() -> None:
    assert {Path(name).parent.name for name in FILES} == {FOLDER}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("speed", ["exact", "max"])
def test_a_gpu_has_times_of_its_own(recipe: Recipe, tmp_path: Path, speed: str) -> None:
    with asked(5):
        run(recipe.but(epochs=5, speed=speed), tmp_path, device="cuda")
    found = page(tmp_path)
    parts = {part["name"]: part for part in found["step"]}
    whole = sum(part["device"] for name, part in parts.items() if "/" not in name)
    assert 0 < found["busy"] <= whole * 1.001
    assert 0 <= found["idle"] < 1
    assert found["memory"] > 0
    if speed == "exact":
        assert all(parts[name]["device"] > 0 for name in ("teacher", "student", "backward"))
    else:
        assert "runs as one piece" in found["notes"][0]


def of_two() -> dict[str, Any]:
    """A run with and without a profile, in a folder that both processes know."""
    with TemporaryDirectory() as own:
        folder = Path(together.by_first(lambda: own))
        watched_here: list[bool] = []

        class Asks(Silent):
            def advance(self) -> None:
                watched_here.append(watched())

        for name in ("plain", "seen"):
            with asked(2) if name == "seen" else contextlib.nullcontext():
                run(TOGETHER, folder / name, display=Asks())
        together.all_of(None)  # the first one writes its page after the others are done
        found = {
            "same": equal(folder / "plain", folder / "seen"),
            "finite": all(
                bool(each.isfinite().all()) for each in weights(folder / "seen").values()
            ),
            "page": page(folder / "seen"),
            "watched": (any(watched_here[: 2 * STEPS]), all(watched_here[2 * STEPS :])),
        }
        together.all_of(None)  # nobody clears the folder while another reads
    return found


def test_a_run_in_its_place_does_not_keep_its_profile(recipe: Recipe, tmp_path: Path) -> None:
    with asked(1):
        run(recipe, tmp_path)
    assert (tmp_path / TEXT).exists()
    run(recipe, tmp_path, overwrite=True)
    assert not list((tmp_path / FOLDER).iterdir())


def test_of_several_processes_the_first_is_profiled() -> None:
    first, second = start("tests.run.test_profiled")
    assert first["same"]
    assert first["finite"]
    assert first["watched"] == (False, True)
    assert second["watched"] == (False, False)
    assert first["page"]["steps"] == 2 * STEPS
    assert "this is the first process" in first["page"]["notes"][0]


if __name__ == "__main__":
    join(of_two)
