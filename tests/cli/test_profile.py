"""``--profile`` from the command."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from relatum.cli import main
from relatum.run.profiled import NUMBERS, TRACE


@pytest.mark.parametrize("command", ["distill", "teach"])
def test_steps_without_a_profile_are_refused(refused: Callable[..., str], command: str) -> None:
    found = refused(command, "--profile-steps", 3)
    assert found == "--profile-steps says how many steps --profile traces: give both"


def test_a_profile_of_no_step_is_refused(refused: Callable[..., str]) -> None:
    assert "--profile-steps" in refused("distill", "--profile", "--profile-steps", 0)


def test_distill_profiles_the_first_seed_of_each_method(
    here: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--teacher", str(teacher), "--method", "sp", "--seeds", "2", "--epochs", "2"]
    with pytest.raises(SystemExit) as stopped:
        main(["distill", *options, "--out", "out", "--profile", "--profile-steps", "4"])
    said = capsys.readouterr()
    assert stopped.value.code == 0, said.err
    found = {str(path.relative_to("out").parents[1]) for path in Path("out").rglob(NUMBERS[8:])}
    assert found == {"none/seed-0", "sp/seed-0"}
    assert said.err.count("where the time went") == 2
    assert "where" not in said.out, "tables of results are all that a pipe is given"
    first, later = (
        json.loads((Path("out") / name / "seed-0" / NUMBERS).read_text()) for name in ("none", "sp")
    )
    assert first["run"][0]["name"] == "start of the command"
    assert later["run"][0]["name"] == "start-up"
    assert later["traced"] == 4
    assert (Path("out") / "sp" / "seed-0" / TRACE).exists()


def test_teach_profiles_its_run(here: Path, does: Callable[..., str]) -> None:
    does("teach", "--epochs", 1, "--out", "out", "--profile")
    assert json.loads((here / "out" / NUMBERS).read_text())["steps"] > 10
