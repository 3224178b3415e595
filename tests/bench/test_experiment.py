"""Runs side by side: one that fails stops no other."""

from pathlib import Path

import pytest
import torch

from relatum.bench.experiment import Cell, check_place, claim, folder_of, run_all
from relatum.checkpoint import Interrupted, Stop
from relatum.recipes.recipe import Recipe
from relatum.record import Record
from relatum.run import Silent
from relatum.types import Fault

CPU = torch.device("cpu")
SHORT = Recipe(dataset="digits", epochs=1, batch_size=256)


def cell(name: str, **changes: object) -> Cell:
    return Cell(f"{name}/seed-0", name, SHORT.but(**changes))


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.ended: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def end(self, record: Record) -> None:
        self.ended.append(record.label)


def test_one_that_does_not_stay_finite_stops_no_other(tmp_path: Path) -> None:
    display = Notes()
    wild = cell("wild", learning_rate=1e30, schedule="constant", epochs=3)
    pupil = Cell("pupil/seed-0", "pupil", SHORT.but(teacher=str(tmp_path / wild.folder)))
    cells = [cell("first"), wild, pupil, cell("last", seed=1)]
    records, failures = run_all(cells, tmp_path, device=CPU, display=display)
    assert [each.label for each in records] == ["first", "last"] == display.ended
    assert [each.cell.label for each in failures] == ["wild", "pupil"]
    assert "since step" in failures[0].reason
    assert failures[1].reason == "its teacher failed"
    assert display.notes
    assert display.notes[0].startswith("wild/seed-0 failed: ")
    assert not (tmp_path / "wild" / "seed-0" / "record.json").exists()


def test_it_goes_on_with_what_is_there(tmp_path: Path) -> None:
    display = Notes()
    before, _ = run_all([cell("first")], tmp_path, device=CPU)
    again, _ = run_all([cell("first"), cell("second")], tmp_path, device=CPU, display=display)
    assert again[0] == before[0]
    assert display.ended == ["second"]


def test_it_stops_between_runs(tmp_path: Path) -> None:
    stop = Stop()

    class Halts(Silent):
        def end(self, record: Record) -> None:
            stop.signum = 15

    with pytest.raises(Interrupted):
        run_all([cell("first"), cell("second")], tmp_path, device=CPU, stop=stop, display=Halts())
    assert (tmp_path / "first" / "seed-0" / "record.json").exists()
    assert not (tmp_path / "second").exists()


def test_what_the_user_can_mend_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="no model is called"):
        run_all([cell("first", student="resnet9"), cell("second")], tmp_path, device=CPU)
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("sp", "sp"),
        ("sp=3000+kd@maps", "sp=3000+kd@maps"),
        ("sp (B/4)", "sp-B-4"),
        ("my/file.py:Mine", "my-file.py-Mine"),
        ("../../etc", "etc"),
        ("...", "run"),
        ("", "run"),
    ],
)
def test_folders_are_named_after_labels(label: str, name: str) -> None:
    assert folder_of(label) == name


@pytest.mark.parametrize("place", ["runs/teacher", "runs@2/teacher", ""])
def test_where_a_teacher_lies(place: str) -> None:
    recipe = Recipe(method="sp", teacher=place) if place else Recipe(method="none")
    assert Cell("sp", "sp", recipe).source == place
    named = recipe.but(teacher=f"my_file:make@{place}" if place else None)
    assert Cell("sp", "sp", named, teacher="my_file:make").source == place


def test_a_taken_folder_is_not_written_to_unasked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    claim(out, resume=False, overwrite=False)
    run_all([cell("none")], out, device=CPU)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(Fault, match="holds 1 run already; go on with --resume"):
        claim(out, resume=False, overwrite=False)
    (tmp_path / "out-2").mkdir()
    with pytest.raises(Fault, match=f"choose another: --out {tmp_path / 'out-3'}"):
        check_place(out, resume=False, overwrite=False)
    check_place(out, resume=False, overwrite=True)
    claim(out, resume=True, overwrite=False)
    assert (out / "none" / "seed-0" / "record.json").exists()
    with pytest.raises(Fault, match="more than one experiment"):
        claim(tmp_path, resume=False, overwrite=True)
    assert (out / "none" / "seed-0" / "record.json").exists()
    claim(out, resume=False, overwrite=True)
    assert not list(out.rglob("*.safetensors"))
    assert (out / "notes.txt").read_text() == "mine"
    with pytest.raises(Fault, match="is a file"):
        claim(out / "notes.txt", resume=False, overwrite=False)
    with pytest.raises(Fault, match="give one of them"):
        claim(out, resume=True, overwrite=True)
