"""Advice is given where the numbers show that it helps, and nowhere else."""

import importlib
from dataclasses import replace
from typing import Any

import pytest
import torch

from relatum.profiling.profile import COMMAND, Part, Profile
from relatum.profiling.trace import Operator
from relatum.recipes.recipe import Recipe
from relatum.run.advice import advice

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PLACE = importlib.import_module("relatum.run.advice")


@pytest.fixture(autouse=True)
def everything_to_compile_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relatum.speed._missing", lambda _: None)


BLANK = Profile(
    run=(),
    seconds=10.0,
    step=(),
    milliseconds=20.0,
    steps=100,
    timed=80,
    usual=True,
    first=0.1,
    images=1.0,
    busy=None,
    idle=None,
    memory=None,
    operators=(),
    traced=3,
    notes=(),
)
RECIPE = Recipe(method="sp", teacher="there")
CONVOLUTIONS = (
    Operator("aten::mkldnn_convolution", 8.0, 0.5, 9.0),
    Operator("aten::add", 7.0, 0.4, 9.0),
)


def shares(profile: Profile = BLANK, **step: float) -> Profile:
    parts = tuple(Part(name.replace("__", "/"), 1.0, share) for name, share in step.items())
    return replace(profile, step=parts)


def of_run(**run: float) -> Profile:
    named = {"command": COMMAND, "start": "start-up"}
    return replace(BLANK, run=tuple(Part(named.get(n, n), 1.0, s) for n, s in run.items()))


@pytest.fixture(autouse=True)
def half(monkeypatch: pytest.MonkeyPatch) -> None:
    """On hardware that multiplies in bfloat16, wherever this runs."""
    monkeypatch.setattr(PLACE, "half_here", lambda device: True)


def given(profile: Profile, device: torch.device = CPU, **changes: Any) -> str:
    return " | ".join(advice(profile, RECIPE.but(**changes), device))


def test_nothing_is_said_of_what_takes_little() -> None:
    small = shares(data=0.2, teacher=0.2, student=0.2, losses=0.2, backward=0.2)
    assert advice(small, RECIPE.but(augment=("crop",), watch_test=True), CPU) == []
    assert advice(BLANK, RECIPE, CUDA) == []


def test_data() -> None:
    found = given(shares(data=0.6), augment=("crop", "flip"))
    assert found.startswith("data takes 60% of a step, and crop, flip")
    assert given(shares(data=0.6)) == "", "what is only cut cannot be cut less"


def test_the_teacher() -> None:
    much = shares(teacher=0.62)
    assert given(much).endswith("--cache FOLDER stores what it says, once")
    assert "--set views=4" in given(much, augment=("crop",))
    assert "--set views" not in given(much, augment=("crop",), views=2)
    assert given(much, cache="folder") == ""
    assert given(much, shard=("teacher",)) == ""


def test_losses() -> None:
    found = given(shares(losses=0.5, losses__ce=0.1, losses__crd=0.35))
    assert found.startswith("losses take 50% of a step, crd alone 35%")


def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = shares(replace(BLANK, operators=CONVOLUTIONS), teacher=0.2, backward=0.5)
    assert given(networks) == (
        "the networks take 70% of a step, in float32, and this processor multiplies in bfloat16:"
        " --speed fast"
    )
    assert "this GPU multiplies" in given(networks, CUDA)
    assert given(networks, precision="bfloat16") == ""
    assert given(replace(networks, idle=0.9), CUDA, speed="max") == "", "it waits for the host"
    light = tuple(replace(each, milliseconds=0.1) for each in CONVOLUTIONS)
    assert given(replace(networks, operators=light)) == "", "too little to gain"
    others = tuple(replace(each, name="aten::max_pool2d") for each in CONVOLUTIONS)
    assert given(replace(networks, operators=others)) == "", "no products, no gain"
    monkeypatch.setattr(PLACE, "half_here", lambda device: False)
    assert given(networks) == ""


def test_a_device_that_waits() -> None:
    waits = replace(BLANK, idle=0.45)
    assert given(waits, CUDA).startswith("the device waited 45% of a step")
    assert given(waits, CUDA, speed="max") == ""


@pytest.mark.parametrize(
    ("changes", "way"),
    [
        ({"watch_test": True, "validation": 0.1}, "--set watch_test=false"),
        ({"validation": 0.1, "probes": ("linear",)}, "--set validation=0"),
        ({"probes": ("knn",)}, "--set probes="),
        ({}, ""),
    ],
)
def test_evaluation(changes: dict[str, Any], way: str) -> None:
    found = given(of_run(evaluation=0.4), **changes)
    assert way in found
    assert bool(found) == bool(way)


def test_the_rest_of_the_run() -> None:
    assert given(of_run(checkpoint=0.3)).startswith("checkpoints take 30% of the run")
    found = given(of_run(command=0.2, start=0.3))
    assert found.startswith("the run is short: 50% of it went before its first step")


def test_compiling() -> None:
    compiles = replace(BLANK, first=4.0)
    assert given(compiles, speed="max").startswith("the first steps take 40% of the run")
    assert given(compiles) == ""


def test_what_takes_most_comes_first() -> None:
    step = shares(teacher=0.3, losses=0.4, losses__sp=0.4)
    assert [each.split()[0] for each in advice(step, RECIPE, CPU)] == ["losses", "the"]


def test_the_ways_out_exist() -> None:
    """Fields that advice names can be set; what they do to a recipe is checked there."""
    from relatum.cli.options import changes_of

    pairs = ["views=4", "augment=crop", "watch_test=false", "validation=0", "probes="]
    recipe = RECIPE.but(**changes_of(pairs))
    assert (recipe.views, recipe.watch_test, recipe.probes) == (4, False, ())
