"""A recipe on several processes leaves what it leaves on one.

Run as a module this file is one of the processes.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from relatum import world
from relatum.recipes.recipe import Recipe
from relatum.record import WEIGHTS, Record
from relatum.run import run
from relatum.types import Fault
from tests.processes import join, start

HERE = "RELATUM_TEST_FOLDER"
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "microbatch": {"microbatch": 10},
    "sharded": {"shard": ["teacher", "student"]},
    "half": {"teacher_precision": "bfloat16"},
    "several sharded": {"shard": ["teacher"], "teacher": "{0},{0}-too=2"},
    "half and sharded": {"teacher_precision": "bfloat16", "shard": ["teacher"]},
    "the last batch": {"drop_last": False},
    "balanced": {"balance": "equal", "batch_size": 51},
}
"""What is changed of the recipe."""
METHODS = ("sp", "rrd", "crd")
EPOCHS = 2


def recipe(teacher: str, method: str, **changes: Any) -> Recipe:
    """Without BatchNorm, whose batch is that of a process, and without dropout."""
    student = "mnist-mlp-32"
    made = Recipe(student=student, teacher=teacher, method=method, epochs=EPOCHS, dropout=0.0)
    return made.but(
        **{"batch_size": 50, "learning_rate": 0.01, "validation": 0.1, "samples": 320, **changes}
    )


def recipe_of_teacher() -> Recipe:
    return Recipe(student="mnist-mlp-1200", epochs=1, learning_rate=0.01)


def all_of(folder: Path) -> dict[str, dict[str, float]]:
    """Every way with every method; its metrics."""
    found: dict[str, dict[str, float]] = {}
    for way, changes in WAYS.items():
        for method in METHODS if way == "plain" else METHODS[:1]:
            name = f"{way} {method}"
            rest = {name: value for name, value in changes.items() if name != "teacher"}
            teacher = changes.get("teacher", "{0}").format(folder / "teacher")
            wanted = recipe(teacher, method, **rest)
            record = run(wanted, folder / name)
            losses = {f"{row.epoch} {n}": v for row in record.rows for n, v in row.losses.items()}
            weights = {f"weight {n}": value for n, value in record.weights.items()}
            found[name] = {**record.metrics, **losses, **weights}
    return found


def refused(folder: Path) -> str:
    try:
        run(recipe(str(folder / "teacher"), "sp", sync_batchnorm=True), folder / "refused")
    except Fault as fault:
        return str(fault)
    return ""


def work() -> dict[str, Any]:
    folder = Path(os.environ[HERE])
    return {"metrics": all_of(folder), "refused": refused(folder), "rank": world.rank()}


@pytest.fixture(scope="module")
def places() -> Iterator[tuple[Path, Path]]:
    """Where one process wrote, and where two did."""
    with TemporaryDirectory() as folder:
        yield Path(folder, "alone"), Path(folder, "together")


@pytest.fixture(scope="module")
def pair(places: tuple[Path, Path]) -> list[dict[str, Any]]:
    """What each of two processes got; the teacher is that of the one."""
    alone, together = places
    run(recipe_of_teacher(), alone / "teacher")
    for copy in (alone / "teacher-too", together / "teacher", together / "teacher-too"):
        shutil.copytree(alone / "teacher", copy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HERE, str(together))
        return start("tests.run.test_processes")


def test_two_processes_leave_what_one_leaves(
    places: tuple[Path, Path], pair: list[dict[str, Any]]
) -> None:
    alone, together = places
    wanted = all_of(alone)
    for rank, each in enumerate(pair):
        assert each["rank"] == rank
        assert each["metrics"].keys() == wanted.keys()
        for name, found in each["metrics"].items():
            rough = "half" in name  # a bit of bfloat16 is another one in another batch
            tolerance = 0.05 if rough else 1e-3
            assert found == pytest.approx(wanted[name], rel=tolerance, abs=0.3), name
    for name in wanted:
        one, two = (load_file(each / name / WEIGHTS) for each in places)
        near = 1e-2 if "half" in name else 1e-5
        torch.testing.assert_close(two, one, rtol=near, atol=near, msg=name)
        assert sorted(each.name for each in (together / name).iterdir()) == sorted(
            each.name for each in (alone / name).iterdir()
        )
        assert Record.load(together / name).environment["processes"] == 2


def test_they_find_the_same_weights(places: tuple[Path, Path], pair: list[dict[str, Any]]) -> None:
    """Of a batch of 51, that is 26 samples of one and 25 of the other."""
    found = [
        {n: value for n, value in each["metrics"]["balanced sp"].items() if n.startswith("weight ")}
        for each in pair
    ]
    assert found[0] == found[1]
    alone, together = (Record.load(place / "balanced sp").weights for place in places)
    assert found[0] == {f"weight {name}": value for name, value in together.items()}
    assert together == pytest.approx(alone, rel=1e-4)
    assert together["sp"] != pytest.approx(3000, rel=0.1)


def test_statistics_over_all_processes_need_gpus(pair: list[dict[str, Any]]) -> None:
    for each in pair:
        assert "sync_batchnorm works on GPUs alone" in each["refused"]


if __name__ == "__main__":
    join(work)
