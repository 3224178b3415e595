import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from relatum.recipes.recipe import Recipe
from relatum.types import Fault


def one_line(caught: pytest.ExceptionInfo[Fault]) -> str:
    text = str(caught.value)
    assert "\n" not in text
    assert "pydantic" not in text
    return text


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError):
        Recipe().epochs = 3


def test_a_variant_leaves_the_original() -> None:
    recipe = Recipe(epochs=3)
    other = recipe.but(epochs=4, schedule="steps", milestones=(2,))
    assert (recipe.epochs, other.epochs, other.milestones) == (3, 4, (2,))
    assert other.but(**recipe.model_dump()) == recipe


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rat": 1}, "a recipe has no field 'learning_rat'; the nearest is 'learning_r"),
        ({"lr": 1}, "a recipe has no field 'lr'; it is called 'learning_rate'"),
        ({"qzzx": 1}, "a recipe has no field 'qzzx'; there are dataset, data_root, image_size"),
        ({"epochs": -1}, "recipe field 'epochs': input should be greater than or equal to 0, got"),
        ({"epochs": "many"}, "recipe field 'epochs'"),
        ({"epochs": 2.5}, "recipe field 'epochs'"),
        ({"learning_rate": 0}, "recipe field 'learning_rate': input should be greater than 0"),
        ({"learning_rate": float("nan")}, "recipe field 'learning_rate': input should be a finite"),
        ({"momentum": 1.0}, "recipe field 'momentum'"),
        ({"batch_size": 0}, "recipe field 'batch_size'"),
        ({"schedule": "cosin"}, "recipe field 'schedule': input should be 'constant', 'cosine'"),
        ({"precision": "float16"}, "recipe field 'precision'"),
        ({"probes": ("linear", "tree")}, "recipe field 'probes'"),
        ({"validation": 1.0}, "recipe field 'validation'"),
        ({"dropout": 1.0}, "recipe field 'dropout'"),
        ({"seed": -1}, "recipe field 'seed'"),
        ({"anchors": "best"}, "recipe field 'anchors'"),
        ({"augment": "flip"}, "recipe field 'augment'"),
        ({"milestones": (3,)}, "recipe: milestones need schedule 'steps', got 'cosine'"),
        ({"schedule": "steps"}, "recipe: schedule 'steps' needs milestones"),
        ({"schedule": "steps", "milestones": (30,)}, "do not lie within 30 epochs"),
        ({"schedule": "steps", "milestones": (0, 5)}, "do not lie within 30 epochs"),
        ({"scale": 0}, "recipe field 'scale'"),
        ({"scale": 1.5}, "recipe field 'scale'"),
        ({"samples": 0}, "recipe field 'samples'"),
        ({"begin": "a", "student": "timm/b:pretrained"}, "begins with published weights, and"),
        ({"nesterov": True, "momentum": 0.0}, "recipe: nesterov needs momentum"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(changes: dict[str, Any], words: str) -> None:
    for make in (Recipe().but, lambda **fields: Recipe.of(fields)):
        with pytest.raises(Fault) as caught:
            make(**changes)
        assert words in one_line(caught)


def test_what_is_no_object_is_refused() -> None:
    wrong: list[Any] = [[], "digits", 3, None]
    for what in wrong:
        with pytest.raises(Fault, match="a recipe is an object of fields, got"):
            Recipe.of(what)


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    recipe = Recipe(
        dataset="cifar100",
        augment=("crop", "flip"),
        schedule="steps",
        milestones=(10, 20),
        probes=("knn",),
        dropout=0.25,
    )
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json(indent=1))
    assert Recipe.read(tmp_path / "recipe.json") == recipe


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is no JSON"),
        (b"", "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b"[1]", "an object of fields, got list"),
        (json.dumps({"epoch": 3}).encode(), "no field 'epoch'; the nearest is 'epochs'"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "recipe.json"
    path.write_bytes(content)
    with pytest.raises(Fault) as caught:
        Recipe.read(path)
    text = one_line(caught)
    assert words in text
    assert str(path) in text


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "recipe.json", tmp_path):
        with pytest.raises(Fault, match="cannot read the recipe"):
            Recipe.read(path)


@pytest.mark.parametrize(
    ("scale", "epochs", "milestones"),
    [
        (1.0, 240, (150, 180, 210)),
        (0.5, 120, (75, 90, 105)),
        (0.1, 24, (15, 18, 21)),
        (0.05, 12, (8, 9, 10)),
        (0.02, 5, (3, 4, 4)),  # two that meet: the rate ends as low
        (0.001, 1, ()),
    ],
)
def test_scaled_it_is_the_same_course_in_less_time(
    scale: float, epochs: int, milestones: tuple[int, ...]
) -> None:
    whole = Recipe(epochs=240, schedule="steps", milestones=(150, 180, 210))
    part = whole.scaled(scale)
    schedule = "steps" if milestones else "constant"
    changes = {"epochs": epochs, "milestones": milestones, "schedule": schedule, "scale": scale}
    assert part == whole.but(**changes)
    end = (epochs - 0.5) / epochs
    assert part.schedule_of()(end) == pytest.approx(0.1 ** len(milestones))


def test_a_scale_is_remembered_and_multiplied() -> None:
    recipe = Recipe(epochs=100)
    assert recipe.scaled(1) is recipe
    assert recipe.scaled(0.5).scaled(0.2) == recipe.but(epochs=10, scale=0.1)
    assert recipe.but(epochs=0).scaled(0.5) == recipe.but(epochs=0, scale=0.5)


@pytest.mark.parametrize("scale", [0, -1, 1.01, float("nan")])
def test_a_scale_that_is_no_share_is_refused(scale: float) -> None:
    with pytest.raises(Fault, match="over 0 and up to 1"):
        Recipe().scaled(scale)


def test_shortened_it_says_nothing_of_a_scale() -> None:
    recipe = Recipe(epochs=240, schedule="steps", milestones=(150, 180, 210))
    assert recipe.shortened(24) == recipe.but(epochs=24, milestones=(15, 18, 21))
    assert recipe.shortened(480).milestones == (300, 360, 420)


def test_the_last_batch_is_called_by_what_becomes_of_it() -> None:
    assert Recipe().last_batch == "dropped"
    assert Recipe(drop_last=False).last_batch == "kept"


def test_schedules() -> None:
    falls = Recipe(epochs=240, schedule="steps", milestones=(150, 180, 210)).schedule_of()
    rates = [falls(epoch / 240) for epoch in (0, 149, 150, 179, 180, 209, 210, 239)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert Recipe(schedule="constant").schedule_of()(0.7) == 1
    assert Recipe().schedule_of()(0.5) == pytest.approx(0.5)


@pytest.mark.parametrize("epochs", [3, 7, 30, 49, 100, 120, 240])
def test_milestones_fall_at_their_very_step(epochs: int) -> None:
    """Rounding in progress must not let the rate fall one step late."""
    for milestone in range(1, epochs):
        falls = Recipe(epochs=epochs, schedule="steps", milestones=(milestone,)).schedule_of()
        for steps in (1, 7, 782):
            done = milestone * steps
            assert falls(done / (epochs * steps)) == pytest.approx(0.1)
            assert falls((done - 1) / (epochs * steps)) == 1
