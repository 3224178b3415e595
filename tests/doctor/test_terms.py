"""What each term weighs, and what a few steps of it do."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relatum.bench.experiment import Cell
from relatum.distiller import Distiller
from relatum.doctor import Finding, examine
from relatum.doctor.cost import duration, examine_place
from relatum.doctor.terms import _values
from relatum.losses import CrossEntropy
from relatum.objective import Objective, Term
from relatum.recipes.recipe import Recipe
from tests.toys import batch, same, state, student

CPU = torch.device("cpu")
RECIPE = Recipe(method="sp", teacher="teacher", batch_size=64)


class Breaks(nn.Module):
    """Infinite."""

    def forward(self, student: Tensor) -> Tensor:
        return student.square().mean() / 0.0


class Overflows(nn.Module):
    """Fine in float32, and not where the student speaks in half of that."""

    def forward(self, student: Tensor) -> Tensor:
        return student.mean() + (float("inf") if student.dtype == torch.bfloat16 else 0.0)


def found(out: Path, **changes: Any) -> dict[str, Finding]:
    """Beside a teacher that is yet to be trained."""
    source = Cell("teacher", "teacher", Recipe(student="digits-cnn-large"))
    recipe = RECIPE.but(teacher=str(out / "teacher"), **changes)
    cells = [source, Cell("m/seed-0", "m", recipe), Cell("m/seed-1", "m", recipe.but(seed=1))]
    return {each.check: each for each in examine(cells, out, device=CPU)}


def share(finding: Finding) -> float:
    return float(finding.text.rpartition("; ")[2].partition("%")[0])


def test_a_sound_method(tmp_path: Path) -> None:
    said = found(tmp_path / "out", method="kd")
    levels = {name: each.level for name, each in said.items()}
    assert levels.pop("teacher's accuracy") == "unseen"  # it is trained first
    assert set(levels.values()) == {"ok"}
    assert share(said["m: term ce"]) + share(said["m: term kd"]) == pytest.approx(100, abs=0.2)
    assert "3 runs" in said["time"].text
    assert said["teacher's accuracy"].text.startswith("it is trained first")
    assert not list(tmp_path.iterdir())


def test_terms_that_drown_each_other(tmp_path: Path) -> None:
    said = found(tmp_path, method="sp=1e7")
    assert said["m: term ce"].level == said["m: term sp"].level == "warning"
    assert "--balance equal" in said["m: term sp"].way_out
    balanced = found(tmp_path, method="sp", balance="equal")
    assert balanced["m: term ce"].text.endswith("of the pull (gradient at the maps)")
    assert share(balanced["m: term ce"]) == pytest.approx(50, abs=5)  # found on eight batches


def test_a_term_that_is_not_finite(tmp_path: Path) -> None:
    said = found(tmp_path, method=f"{__file__}:Breaks@embedding")
    assert said["m: term Breaks"].level == "problem"
    assert "not finite" in said["m: term Breaks"].text
    assert said["m: steps"].level == "problem"


def test_a_term_that_does_not_bear_bfloat16(tmp_path: Path) -> None:
    said = found(tmp_path, method=f"{__file__}:Overflows@output")
    assert said["m: bfloat16"].level == "warning"
    assert said["m: term Overflows"].level == "ok"


def test_batches_that_are_too_small(tmp_path: Path) -> None:
    assert found(tmp_path, batch_size=4)["m: batch"].level == "warning"
    assert "of 10 classes" in found(tmp_path, batch_size=9)["m: batch"].text
    short = found(tmp_path, batch_size=479, drop_last=False)["m: batch"]
    assert short.text == "the last batch of an epoch has 1 samples, the others 479"


def test_what_cannot_be_built_is_a_problem_and_no_end(tmp_path: Path) -> None:
    said = found(tmp_path, method="sp@nothing")
    assert said["m"].level == "problem"
    assert "METHOD@TAP" in said["m"].text


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    assert examine_place(tmp_path / "a" / "b", 2**20, 2).level == "ok"
    assert examine_place(tmp_path, 2**60, 2).level == "problem"


def test_times_are_said_in_their_unit() -> None:
    said = [duration(each) for each in (7.2, 600.0, 36000.0, 1e6)]
    assert said == ["7 s", "10 min", "10.0 h", "11.6 days"]


def test_values_are_those_of_a_step_and_nothing_moves() -> None:
    """Statistics of BatchNorm that fit no image at all have no part in them."""
    objective = Objective(ce=Term(CrossEntropy()))
    pair = Distiller(student(dropout=0.5), None, objective)
    network: Any = pair.student.network
    network.bn.running_var.fill_(1e-12)
    before, drawn = state(pair.learner), torch.get_rng_state()
    values = _values(pair, batch())
    assert values["ce"] < 10
    assert values == _values(pair, batch())
    assert same(before, state(pair.learner))
    assert torch.equal(drawn, torch.get_rng_state())
