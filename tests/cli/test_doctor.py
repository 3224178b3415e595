"""``relatum doctor`` takes what ``distill`` takes, and writes nothing."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from relatum.cli import main
from relatum.cli.distill import distill
from relatum.cli.doctor import doctor
from relatum.recipes.recipe import Recipe


def test_it_has_the_options_of_distill() -> None:
    *options, json = inspect.signature(doctor).parameters.values()
    assert options == [*inspect.signature(distill).parameters.values()]
    assert json.name == "json"


def test_it_looks_and_writes_nothing(here: Path, teacher: Path, does: Callable[..., str]) -> None:
    said = does("doctor", "--teacher", teacher, "--method", "sp", "--seed", 1, "--out", "out")
    assert "sp: term sp" in said
    assert "training images" in said
    assert not list(here.iterdir())


def test_a_problem_is_told_by_its_code_and_kept(
    here: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["doctor", "--teacher", str(teacher), "--method", "sp", "--seed", "0"]
    arguments += ["--set", "learning_rate=1e30", "--json", "found.json", "--no-baseline"]
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    found = json.loads((here / "found.json").read_text())
    assert [each["check"] for each in found if each["level"] == "problem"] == ["sp: steps"]
    assert "1 problem" in capsys.readouterr().out
    assert [path.name for path in here.iterdir()] == ["found.json"]


def test_what_distill_refuses_it_refuses(refused: Callable[..., str], here: Path) -> None:
    assert "nearest is 'sp'" in refused("doctor", "--method", "spp")


def test_a_folder_that_is_taken(
    here: Path, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    kept = here / "out" / "sp" / "seed-0" / "recipe.json"
    kept.parent.mkdir(parents=True)
    kept.write_text(Recipe(epochs=7).model_dump_json())
    asked = ["--student", "digits-cnn-small", "--method", "sp", "--seed", "0", "--out", "out"]
    assert "holds 1 run already" in refused("distill", *asked)
    capsys.readouterr()
    for option, said in ((), "holds 1 run already"), (("--resume",), "a run of another recipe"):
        with pytest.raises(SystemExit) as stopped:
            main(["doctor", *asked, *option, "--no-baseline"])
        assert stopped.value.code == 2
        assert "✗ folder: " in (out := capsys.readouterr().out)
        assert said in out
    assert kept.is_file()


def test_a_file_that_cannot_be_written_is_refused_first(
    refused: Callable[..., str], here: Path
) -> None:
    assert "is a folder" in refused("doctor", "--json", here, "--teacher", "nowhere@nothing")
    (here / "file").touch()
    said = refused("doctor", "--json", here / "file" / "a.json", "--teacher", "nowhere@nothing")
    assert "no file can be made in" in said
    if Path("/proc").is_dir():  # which says that root may
        said = refused("doctor", "--json", "/proc/a.json", "--teacher", "nowhere@nothing")
        assert "no file can be made in /proc" in said
