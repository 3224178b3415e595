"""What options ask for becomes runs, in folders of their own."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from relatum.cli import app, runs
from relatum.cli.distill import distill
from relatum.cli.doctor import doctor
from relatum.cli.runs import Asked, cells_of
from relatum.cli.tune import tune
from relatum.types import Fault

Refused = Callable[..., str]
BESIDES = {"context", "dataset", "device", "resume", "overwrite"}
FOLLOWED = {"patience", "track", "profile", "profile_steps"}
SEARCHED = {"search", "trials", "workers", "prune", "storage"}


def options_of(command: str) -> set[str]:
    found = get_command(app).commands[command]  # type: ignore[attr-defined]
    return {text for each in found.params for text in each.opts}


def test_what_is_asked_for_is_a_teacher_and_students() -> None:
    asked = Asked(method="sp,kd", seeds="2", samples=300, epochs=3, set_=["validation=0.1"])
    teacher, *students = cells_of(asked)
    assert (teacher.folder, teacher.recipe.samples, teacher.recipe.validation) == (
        "teacher",
        300,
        0.1,
    )
    assert [each.folder for each in students] == [
        f"{name}/seed-{seed}" for seed in (0, 1) for name in ("none", "sp", "kd")
    ]
    assert {each.recipe.teacher for each in students} == {"runs/digits/teacher"}
    assert {each.recipe.epochs for each in (teacher, *students)} == {3}


def test_a_recipe_is_run_again(tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(
        cells_of(Asked(seed=4))[-1].recipe.but(method="kd(temperature=2)").model_dump_json()
    )
    asked = Asked(recipe=file, epochs=2)
    (only,) = cells_of(asked)
    assert (only.recipe.seed, only.recipe.epochs) == (4, 2)
    assert only.recipe.method == "kd(temperature=2)"
    assert asked.folder.name.startswith("kd-temperature=2-")


def test_two_methods_do_not_share_a_folder() -> None:
    with pytest.raises(Fault, match="would share the folder"):
        cells_of(Asked(method="sp@a:b,sp@a-b", teacher="digits-cnn-large"))


def test_the_set_is_named_by_an_argument_or_an_option(here: Path, refused: Refused) -> None:
    for command in ("distill", "doctor", "bench", "tune", "teach"):
        assert {"dataset", "--data"} <= options_of(command)
    assert "named twice" in refused("distill", "digits", "--data", "mnist")
    assert "no effect beside it" in refused("distill", "digits", "--recipe", _recipe(here))


def test_distill_and_bench_take_each_others_words() -> None:
    shared = {"--method", "--methods", "--seed", "--seeds", "--epochs", "--samples", "--batch"}
    for command in ("distill", "bench"):
        assert shared <= options_of(command)


def _recipe(folder: Path) -> Path:
    file = folder / "recipe.json"
    file.write_text("{}")
    return file


@pytest.mark.parametrize(
    ("command", "besides"),
    [
        (distill, BESIDES | FOLLOWED),
        (doctor, BESIDES | FOLLOWED | {"json"}),
        (tune, BESIDES | SEARCHED),
    ],
)
def test_every_option_is_asked_for(
    command: Callable[..., None], besides: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no field of ``Asked`` is used by the command itself: a new one is named above."""
    pytest.importorskip("optuna")
    own = {each.name for each in fields(Asked)}
    there = set(inspect.signature(command).parameters)
    assert there - own == besides
    given: dict[str, Any] = {name: f"the {name}" for name in own & there}
    given |= {"method": "sp", "set_": ["validation=0.2"], "recipe": None, "data": "mnist"}
    given["out"] = Path("the out")
    given |= {"labels": False, "baseline": False} if "baseline" in there else {"labels": False}

    class Seen(Exception):
        """Here are the runs made, which is all that is wanted."""

    def cells_of(asked: Asked) -> None:
        assert asked == Asked(**{"baseline": False, **given})
        raise Seen

    monkeypatch.setattr(runs, "cells_of", cells_of)
    with pytest.raises(Seen):
        command(None, **given)


@pytest.mark.parametrize(
    ("option", "value", "field"),
    [
        ("--samples", 100, "samples=50"),
        ("--batch", 32, "batch_size=64"),
        ("--cache", "there", "cache=here"),
        ("--data", "mnist", "dataset=digits"),
        ("--student", "resnet8", "student=resnet20"),
        ("--skip-broken", None, "skip_broken=false"),
    ],
)
def test_a_field_is_given_once(
    here: Path, refused: Refused, option: str, value: object, field: str
) -> None:
    name = field.partition("=")[0]
    words = [option] if value is None else [option, value]
    said = refused("distill", *words, "--set", field)
    assert f"--set {name}=… and " in said
    assert option in said
    assert "leave one out" in said
    for command in ("bench", "teach") if option != "--data" else ():
        if option in options_of(command):
            assert "one field twice" in refused(command, "digits", *words, "--set", field)


def test_a_field_is_given_once_where_several_processes_are(tmp_path: Path) -> None:
    """Where the texts of the options are not looked at before."""
    for asked in (
        Asked(samples=100, set_=["samples=50"]),
        Asked(balance="equal", set_=["balance="]),
    ):
        with pytest.raises(Fault, match="leave one out"):
            asked.recipes()
