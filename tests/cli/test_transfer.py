"""``relatum transfer``, ``--scale`` and ``relatum list pairs``."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from relatum.recipes.recipe import Recipe
from relatum.record import Record, find
from relatum.run import run

Does = Callable[..., str]
SHORT = ("--to", "digits", "--scale", 0.02, "--out", "out")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three students, of two methods, trained for one short epoch."""
    folder = tmp_path_factory.mktemp("trained")
    short = Recipe(student="resnet8", epochs=1, samples=128)
    for label, seed in (("none", 0), ("other", 0), ("other", 1)):
        run(short.but(seed=seed), folder / label / f"seed-{seed}", label=label)
    return folder


def moved(before: Path, after: Path) -> set[str]:
    """What of the weights is not as it was."""
    one, other = (load_file(each / "student.safetensors") for each in (before, after))
    return {name for name, value in one.items() if not torch.equal(value, other[name])}


def test_every_run_of_a_folder_is_transferred(here: Path, trained: Path, does: Does) -> None:
    printed = does("transfer", trained, *SHORT)
    assert "report: out/report.html" in printed
    assert "student alone" in printed
    found = [(record.label, record.recipe.seed) for _, record in find(here / "out")]
    assert found == [("none", 0), ("other", 0), ("other", 1)]
    for label, seed in found:
        place = f"{label}/seed-{seed}"
        assert moved(trained / place, here / "out" / place) == {"fc.weight", "fc.bias"}
        recipe = Record.load(here / "out" / place).recipe
        assert (recipe.method, recipe.epochs, recipe.scale) == ("linear", 2, 0.02)
    assert does("transfer", trained, *SHORT, "--resume") == printed


def test_one_run_with_drifting_statistics(here: Path, trained: Path, does: Does) -> None:
    does("transfer", trained / "other" / "seed-1", *SHORT, "--drifting", "--seed", 7)
    changed = moved(trained / "other" / "seed-1", here / "out" / "other" / "seed-7")
    assert {"fc.weight", "bn1.running_mean", "bn1.num_batches_tracked"} <= changed
    assert "conv1.weight" not in changed


def test_a_probe_takes_no_training(here: Path, trained: Path, does: Does) -> None:
    does("transfer", trained / "other" / "seed-0", "--to", "digits", "--probe")
    record = Record.load(here / "runs" / "transfer-digits-probe" / "other" / "seed-0")
    assert record.steps == 0
    assert record.metrics["probe"] > 10


def test_weights_by_themselves(here: Path, trained: Path, does: Does) -> None:
    file = trained / "other" / "seed-0" / "student.safetensors"
    does("transfer", f"resnet8@{file}", *SHORT)
    assert Record.load(here / "out" / "resnet8" / "seed-0").recipe.begin == f"resnet8@{file}"


def test_runs_of_one_label_go_by_longer_names(here: Path, trained: Path, does: Does) -> None:
    for pair in ("a--b", "c--d"):
        place = here / "bench" / pair / "kd" / "seed-0"
        place.mkdir(parents=True)
        for file in (trained / "other" / "seed-0").iterdir():
            (place / file.name).write_bytes(file.read_bytes())
    does("transfer", "bench", *SHORT)
    labels = {record.label for _, record in find(here / "out")}
    assert labels == {"a--b/kd", "c--d/kd"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("transfer", "{trained}"), "Missing option '--to'"),
        (("transfer", "--to", "digits"), "Missing argument"),
        (("transfer", "nowhere", "--to", "digits"), "there is no run and no file nowhere"),
        (("transfer", ".", "--to", "digits"), "holds no finished run"),
        (("transfer", "{trained}", "--to", "digist"), "'digist'; the nearest is 'digits'"),
        (("transfer", "{trained}", "--to", "stl10", "--data-root", "."), "stl10 is not here"),
        (("transfer", "{trained}", "--to", "digits", "--probe", "--drifting"), "give one of them"),
        (("transfer", "{trained}", "--to", "digits", "--set", "method=kd"), "--set method="),
        (("transfer", "{trained}", "--to", "digits", "--scale", "2"), "over 0 and up to 1"),
        (("transfer", "{trained}", "--to", "digits", "--probe", "--epochs", "3"), "no effect"),
        (
            ("transfer", "{trained}/other", "{trained}/other", "--to", "digits"),
            "2 of these runs would be called",
        ),
        (("distill", "--scale", "0"), "over 0 and up to 1"),
        (("distill", "--set", "scale=0.1"), "--set scale=… has no effect here: use --scale"),
        (("teach", "--scale", "-1"), "over 0 and up to 1"),
    ],
)
def test_what_is_wrong_is_one_line(
    here: Path, trained: Path, refused: Does, arguments: tuple[str, ...], words: str
) -> None:
    assert words in refused(*(each.format(trained=trained) for each in arguments))
    assert not list(here.iterdir())


def test_a_scale_shortens_teacher_and_student_alike(here: Path, does: Does) -> None:
    arguments = ("--method", "kd", "--no-baseline", "--seed", 0, "--set", "samples=256")
    does("distill", *arguments, "--scale", 0.1, "--out", "out")
    records = [Record.load(here / "out" / each) for each in ("teacher", "kd/seed-0")]
    assert [(r.recipe.epochs, r.recipe.scale) for r in records] == [(3, 0.1)] * 2
    assert [record.samples["train"] for record in records] == [256, 256]
    does("teach", "--scale", 0.1, "--model", "digits-cnn-small", "--out", "taught")
    recipe = json.loads((here / "taught" / "recipe.json").read_text())
    assert (recipe["epochs"], recipe["student"]) == (3, "digits-cnn-small")


def test_list_pairs(does: Does) -> None:
    lines = does("list", "pairs").splitlines()
    assert len(lines) == 13
    assert lines[5].startswith("resnet32x4:resnet8x4 ")
    assert "7,433,860 to 1,233,540 parameters, one architecture" in lines[5]
    assert lines[7].endswith("two architectures")
    assert "transfer RUN --to SET" in does("list", "recipes")
    assert "tiny-imagenet" in does("list", "datasets")
