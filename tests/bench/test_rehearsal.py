"""What cannot be had is known before anything is trained: for a method, or for all alike."""

from pathlib import Path

import pytest

import relatum.bench.rehearsal as place
from relatum.bench.experiment import Cell
from relatum.bench.grid import Grid
from relatum.bench.pool import Died, Message, Result
from relatum.bench.rehearsal import rehearse_grid
from relatum.bench.schedule import finished, run_grid
from relatum.checkpoint import Interrupted, Stop
from relatum.recipes.benchmark import Pair
from relatum.types import Fault
from tests.bench.pools import Here, Written, below

PAIRS = (Pair("digits-cnn-large", "digits-cnn-small"), Pair("resnet14", "digits-cnn-small"))
FIRST, SECOND = "digits-cnn-large--digits-cnn-small", "resnet14--digits-cnn-small"


def cells(out: Path, *methods: str, **changes: object) -> tuple[Cell, ...]:
    seeds, given = changes.pop("seeds", (0, 1)), changes.pop("given", {})
    pairs = changes.pop("pairs", PAIRS)
    made = Grid("digits", pairs, methods, seeds, 0.03, given, changes)  # type: ignore[arg-type]
    return made.cells(out)


def test_a_method_that_cannot_serve_is_refused_for_all_seeds(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\n"
        "class Breaks(nn.Module):\n"
        "    def forward(self, student):\n"
        "        return student @ student\n"
    )
    breaks = f"{tmp_path}/own.py:Breaks"
    some = cells(tmp_path / "out", "none", "kd", "kd@nope", breaks)
    found = rehearse_grid(some, tmp_path / "out", Here(), Stop())
    assert set(found) == {cell.folder for cell in some if cell.label in ("kd@nope", breaks)}
    refused = found[f"{FIRST}/kd@nope/seed-1"]
    assert refused.kind == "refused"
    assert "nope" in refused.reason
    broken = next(why for folder, why in found.items() if "Breaks" in folder)
    assert broken.kind == "failed"
    assert broken.reason.startswith("on its first batch: RuntimeError: ")
    assert "mat1 and mat2" in broken.reason
    assert "own.py" in broken.trace
    assert not (tmp_path / "out").exists()


def test_each_pair_is_built_once_and_those_that_train_alone_too(tmp_path: Path) -> None:
    pool = Here()
    assert rehearse_grid(cells(tmp_path, "none", "kd"), tmp_path, pool, Stop()) == {}
    assert pool.keys == ["None--digits-cnn-large", "None--resnet14", "None--digits-cnn-small"] + [
        f"{pair.teacher}--{pair.student}" for pair in PAIRS
    ]


def test_what_has_begun_was_built_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = cells(tmp_path, "none", "kd", seeds=(0,), pairs=PAIRS[:1])
    run_grid(some, tmp_path, Here(), Stop(), Written(), before={}, unable={})
    (tmp_path / FIRST / "kd" / "seed-0" / "record.json").unlink()
    before = finished(some, tmp_path)
    wanted = [cell for cell in some if cell.folder not in before]
    assert [cell.label for cell in wanted] == ["kd"]
    monkeypatch.setattr(place, "_build", lambda *_: 1 / 0)
    assert rehearse_grid(wanted, tmp_path, Here(), Stop()) == {}
    # … but what all methods need is looked at all the same
    (tmp_path / "teachers" / "digits-cnn-large" / "student.safetensors").write_bytes(b"x")
    with pytest.raises(Fault, match="holds no readable weights"):
        rehearse_grid(wanted, tmp_path, Here(), Stop())


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"pairs": (Pair("digits-cnn-large", "resnet9"),)}, "no model is called 'resnet9'"),
        ({"pairs": (Pair("resnet9", "digits-cnn-small"),)}, "no model is called 'resnet9'"),
        ({"given": {"resnet14": "nowhere"}}, "there is no file nowhere"),
        ({"batch_size": 5000}, "a batch of 5000 is more than the 1438 training images"),
        ({"dropout": 0.5}, "has no dropout layer"),
        ({"labels": False, "given": {"resnet14": "nowhere"}}, "there is no file nowhere"),
    ],
)
def test_what_is_wrong_for_all_alike(tmp_path: Path, changes: dict[str, object], line: str) -> None:
    with pytest.raises(Fault, match=line):
        rehearse_grid(cells(tmp_path, "none", "kd", **changes), tmp_path, Here(), Stop())
    assert below(tmp_path) == []


def test_the_first_goes_ahead_to_fetch_what_is_missing(tmp_path: Path) -> None:
    class Wide(Here):
        """Room for any number, all of which end with the next wait but one."""

        def __init__(self) -> None:
            super().__init__()
            self.at_once: list[int] = []

        @property
        def room(self) -> bool:
            return True

        def wait(self, seconds: float) -> list[tuple[str, Message]]:
            self.at_once.append(len(self._held))
            held, self._held = self._held, []
            return [(key, Result({})) for key, _ in held]

    pool = Wide()
    rehearse_grid(cells(tmp_path, "none", "kd"), tmp_path, pool, Stop(), download=True)
    assert pool.at_once == [1, 4]


def test_a_process_that_dies_over_a_pair(tmp_path: Path) -> None:
    pool = Here(lambda key: Died("its process was ended by SIGSEGV") if key == SECOND else None)
    found = rehearse_grid(cells(tmp_path, "none", "kd"), tmp_path, pool, Stop())
    assert {folder: why.kind for folder, why in found.items()} == {
        f"{SECOND}/kd/seed-0": "failed",
        f"{SECOND}/kd/seed-1": "failed",
    }
    reason = found[f"{SECOND}/kd/seed-0"].reason
    assert reason == "on its first batch: its process was ended by SIGSEGV"


def test_a_method_that_ends_its_process_is_told_from_the_others(tmp_path: Path) -> None:
    bad = (SECOND, f"{SECOND} sp")
    pool = Here(lambda key: Died("its process ended with exit code 0") if key in bad else None)
    found = rehearse_grid(cells(tmp_path, "none", "kd", "sp", "rkd"), tmp_path, pool, Stop())
    assert set(found) == {f"{SECOND}/sp/seed-0", f"{SECOND}/sp/seed-1"}
    assert pool.keys[-3:] == [f"{SECOND} {name}" for name in ("kd", "sp", "rkd")]


def test_it_stops_when_asked_to(tmp_path: Path) -> None:
    stop = Stop()
    stop.signum = 2
    with pytest.raises(Interrupted):
        rehearse_grid(cells(tmp_path, "none"), tmp_path, Here(), stop)
