"""Trackers are told of a run, and nothing that they do reaches it."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from relatum.bench.attempt import Attempt
from relatum.bench.experiment import Cell
from relatum.checkpoint import Interrupted, Stop
from relatum.recipes.recipe import Recipe
from relatum.record import Record
from relatum.run import Silent, run, tracked
from relatum.types import Fault
from tests.run.runs import CPU, Halts, equal, numbers

HEARD: list[tuple[object, ...]] = []
MINE = f"{__name__}:Mine"


class Mine:
    """Remembers what it is told; raises, or never answers, where it is asked to."""

    fails = ""
    hangs = threading.Event()

    def begin(self, recipe: Recipe, folder: Path, name: str, key: str, again: bool) -> str:
        self._note("begin", name, key, again)
        return "seen at home"

    def row(self, number: int, values: Mapping[str, float]) -> None:
        self._note("row", number, dict(values))

    def end(self, record: Record | None) -> None:
        self._note("end", record)

    def _note(self, what: str, *told: object) -> None:
        if Mine.fails == what:
            raise ConnectionError("nobody\nanswers")
        if Mine.fails == f"{what} hangs":
            Mine.hangs.wait()
        HEARD.append((what, *told))


class Told(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    monkeypatch.setattr(Mine, "hangs", threading.Event())
    HEARD.clear()
    return HEARD


def test_it_is_told_of_every_epoch_and_of_the_end(
    recipe: Recipe, tmp_path: Path, heard: list[tuple[object, ...]]
) -> None:
    display = Told()
    record = run(recipe.but(validation=0.1), tmp_path, label="l", display=display, track=(MINE,))
    begin, first, second, end = heard
    key = json.loads((tmp_path / "tracking.json").read_text())["key"]
    assert begin == ("begin", "digits-cnn-small l seed 0", key, False)
    assert end == ("end", record)
    assert display.notes == ["seen at home"]
    for number, told, row in zip((1, 2), (first, second), record.rows, strict=True):
        _, at, values = told
        assert at == number
        assert isinstance(values, dict)
        assert values["loss/rrkd"] == row.losses["rrkd"]
        assert values["metric/validation_top1"] == row.metrics["validation_top1"]
        assert values["learning_rate"] == row.learning_rate
    run(recipe.but(validation=0.1), tmp_path, resume=True, track=(MINE,))
    assert len(heard) == 4, "a finished run is only read"


def test_a_run_that_goes_on_is_the_same_to_it(
    recipe: Recipe, tmp_path: Path, heard: list[tuple[object, ...]]
) -> None:
    recipe = recipe.but(epochs=3)
    display = Halts(13)  # within the second of epochs of 11 steps
    with pytest.raises(Interrupted):
        run(recipe, tmp_path, stop=display.stop, display=display, track=(MINE,))
    assert [each[0] for each in heard] == ["begin", "row", "end"]
    assert heard[-1] == ("end", None)
    key = heard[0][2]
    heard.clear()
    record = run(recipe, tmp_path, resume=True, track=(MINE,))
    assert heard[0][2:] == (key, True)
    assert [each[1] for each in heard[1:-1]] == [1, 2, 3]
    assert list(heard[-1]) == ["end", record]
    heard.clear()
    run(recipe.but(epochs=0), tmp_path, overwrite=True, track=(MINE,))
    assert heard[0][2] != key
    assert heard[0][3] is False


def test_one_that_fails_changes_nothing_and_is_named_once(
    recipe: Recipe,
    tmp_path: Path,
    heard: list[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = run(recipe, tmp_path / "alone")
    for part, before in {"begin": [], "row": ["begin"], "end": ["begin", "row", "row"]}.items():
        monkeypatch.setattr(Mine, "fails", part)
        display = Told()
        logged = run(recipe, tmp_path / part, display=display, track=(MINE,))
        (failed,) = [each for each in display.notes if "failed" in each]
        assert "ConnectionError: nobody)" in failed
        assert numbers(alone) == numbers(logged)
        assert equal(tmp_path / "alone", tmp_path / part)
        assert [each[0] for each in heard] == before
        heard.clear()


@pytest.mark.parametrize("part", ["begin", "row", "end"])
def test_one_that_never_answers_holds_up_nothing(
    recipe: Recipe,
    tmp_path: Path,
    heard: list[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch,
    part: str,
) -> None:
    monkeypatch.setattr(Mine, "fails", f"{part} hangs")
    monkeypatch.setattr(tracked, "PATIENCE", {True: 0.0, False: 0.0})
    display = Told()
    record = run(recipe.but(epochs=1), tmp_path, display=display, track=(MINE,))
    assert record == Record.load(tmp_path)
    assert display.notes[-1].endswith("has not taken all yet; metrics.jsonl has it")
    Mine.hangs.set()


def test_a_cell_of_a_benchmark_has_it(
    recipe: Recipe, tmp_path: Path, heard: list[tuple[object, ...]]
) -> None:
    cell = Cell("one", "sp", recipe.but(epochs=1), track=(MINE,))
    Attempt(cell, tmp_path)(CPU, Stop(), lambda message: None)
    assert [each[0] for each in heard] == ["begin", "row", "end"]


def test_what_is_no_tracker_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="has no method 'begin'"):
        run(recipe, tmp_path, track=("pathlib:Path",))
    assert not (tmp_path / "checkpoint.pt").exists()
