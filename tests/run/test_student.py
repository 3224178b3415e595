"""How many outputs a student has: none, where nothing could teach it any."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Size

from relatum.models import create
from relatum.recipes.recipe import Recipe
from relatum.run import run
from relatum.run.again import evaluate_again
from relatum.run.prepare import prepare
from relatum.run.run_teacher import Known
from relatum.run.sets import sets_of
from relatum.run.student import outputs_of
from relatum.weights import about_weights, save_weights
from tests.run.runs import CPU

pytest.importorskip("timm")
NAME, WIDTH = "timm/test_resnet", 7


@pytest.fixture(scope="module")
def headless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on images without labels, by a table of embeddings."""
    folder = tmp_path_factory.mktemp("headless")
    (folder / "flat").mkdir()
    rng = np.random.default_rng(0)
    for number in range(20):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "flat" / f"{number:02}.png")
    np.save(folder / "e.npy", rng.normal(size=(20, WIDTH)).astype(np.float32))
    run(recipe_of(folder), folder / "run")
    return folder / "run"


def recipe_of(folder: Path) -> Recipe:
    return Recipe(
        dataset=f"folder:{folder / 'flat'}",
        student=NAME,
        teacher=f"table:{folder / 'e.npy'}",
        method="rrkd",
        epochs=1,
        batch_size=8,
        student_size=32,
        image_size=32,
    )


def test_none_where_a_table_of_embeddings_teaches(headless: Path) -> None:
    about = about_weights(headless / "student.safetensors")
    assert about["classes"] == "0"
    record = run(recipe_of(headless.parent), headless, resume=True)
    assert record.idle == ()
    bare = create(NAME, channels=3, size=32, classes=0)
    assert record.parameters == sum(each.numel() for each in bare.parameters())
    again = evaluate_again(headless)
    assert again == pytest.approx({name: record.metrics[name] for name in again})


def test_a_run_from_when_there_were_some_is_measured_as_then(
    headless: Path, tmp_path: Path
) -> None:
    """Its student has as many outputs as the table is wide, and its file says so."""
    old = tmp_path / "old"
    shutil.copytree(headless, old)
    file = old / "student.safetensors"
    network = create(NAME, channels=3, size=32, classes=WIDTH)
    save_weights(network, file, about_weights(file) | {"classes": str(WIDTH)})
    assert set(evaluate_again(old)) == set(evaluate_again(headless))


def test_it_is_begun_with_and_begins(headless: Path, tmp_path: Path) -> None:
    recipe = recipe_of(headless.parent).but(epochs=0, begin=f"{headless}")
    begun = prepare(recipe, CPU).pair
    record = run(recipe_of(headless.parent), headless, resume=True)
    assert record.teacher is not None
    file = tmp_path / "whole.safetensors"
    save_weights(create(NAME, channels=3, size=32, classes=4), file)
    with_head = prepare(recipe.but(begin=f"{NAME}@{file}"), CPU).pair
    assert begun.begin_sha256 != with_head.begin_sha256
    assert begun.student_classes == with_head.student_classes == 0
    assert set(begun.student.taps) == set(with_head.student.taps)


def test_how_many(recipe: Recipe, headless: Path) -> None:
    labelled, bare = sets_of(recipe, CPU), sets_of(recipe_of(headless.parent), CPU)
    embeds = Known("e", "", {"output": Size((2, 9))}, "embedding")
    tells = Known("l", "", {"output": Size((2, 9))}, "logits")
    foreign, own = recipe.but(student=NAME), recipe.but(student="resnet8")
    assert outputs_of(foreign, labelled, embeds) == 10
    assert outputs_of(foreign, bare, tells) == 9
    assert outputs_of(foreign, bare, embeds) == 0
    assert outputs_of(own, bare, embeds) == 1
    assert outputs_of(foreign, bare, None) == 1
    assert outputs_of(foreign.but(method="rrkd@output"), bare, embeds) == 9
