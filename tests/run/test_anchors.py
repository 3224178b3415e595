"""Fixed anchors: chosen by the seed alone, re-checked by index."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relatum.methods import Says
from relatum.recipes.recipe import Recipe
from relatum.run import run
from relatum.run.anchors import anchors_of
from relatum.run.network_teacher import NetworkTeacher
from relatum.run.prepare import Prepared, prepare
from relatum.taps import Tap, Taps, shapes
from relatum.teachers import Teacher
from relatum.types import Fault, Images

CPU = torch.device("cpu")


def chosen(recipe: Recipe, ready: Prepared | None = None) -> Images:
    ready = ready or prepare(recipe, CPU)
    images = anchors_of(recipe, ready.sets, ready.pair)
    assert images is not None
    return images


def places(images: Images, ready: Prepared) -> list[int]:
    """Where in the training part each anchor sits; equal images count as the first of them."""
    every = ready.sets.train.float(slice(None)).flatten(1)
    return [int((every == each.flatten()).all(1).nonzero()[0, 0]) for each in images]


def test_those_of_the_batch_are_not_fixed(recipe: Recipe) -> None:
    assert prepare(recipe, CPU).anchors is None


def test_at_random(recipe: Recipe) -> None:
    recipe = recipe.but(anchors="random", anchor_count=20)
    ready = prepare(recipe, CPU)
    images = chosen(recipe, ready)
    assert images.shape == (20, 1, 8, 8)
    assert 0 <= images.min() < images.max() <= 1
    assert len(set(places(images, ready))) == 20
    assert torch.equal(images, chosen(recipe))
    assert not torch.equal(images, chosen(recipe.but(seed=1)))


def test_at_random_within_each_class(recipe: Recipe) -> None:
    recipe = recipe.but(anchors="random-per-class", anchor_count=3)
    ready = prepare(recipe, CPU)
    assert ready.sets.train.labels is not None
    labels = ready.sets.train.labels[places(chosen(recipe, ready), ready)]
    assert labels.tolist() == [label for label in range(10) for _ in range(3)]


def test_the_most_confident_of_each_class(recipe: Recipe) -> None:
    recipe = recipe.but(anchors="confident-per-class", anchor_count=2)
    ready = prepare(recipe, CPU)
    train, teacher = ready.sets.train, ready.pair.teacher
    assert train.labels is not None
    assert isinstance(teacher, NetworkTeacher)
    chances = teacher.live.encode(train.float(slice(None))).output.softmax(1)
    confidence, guessed = chances.max(1)
    found = places(chosen(recipe, ready), ready)
    for label in range(10):
        two = found[2 * label : 2 * label + 2]
        right = (guessed == label) & (train.labels == label)
        assert right[two].all()
        best = confidence[right].topk(2).values
        torch.testing.assert_close(confidence[two], best)


class Turned(nn.Module):
    """Says of every image that it is of the next class; what it says is as wide as the classes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        turned: Tensor = self.network(images).roll(1, dims=1)
        return turned


def spoken(ready: Prepared, taps: Taps, says: Says, **known: Any) -> Prepared:
    """The same run, whose teacher says something else than logits of the set's classes."""
    assert ready.pair.teacher is not None
    (tapped,) = ready.pair.teacher.networks
    teacher = NetworkTeacher(Teacher(Turned(tapped.network), taps), ready.pair.teacher.known)
    given = shapes(teacher.tapped, ready.sets.train.float(slice(0, 2)))
    setting = replace(
        ready.pair.setting,
        teacher=given,
        teacher_says=says,
        teacher_network=teacher.tapped,
        **known,
    )
    return replace(ready, pair=replace(ready.pair, teacher=teacher, setting=setting))


@pytest.mark.parametrize(
    ("taps", "says", "known"),
    [
        ({"embedding": Tap("")}, "embedding", {}),
        ({"embedding": Tap("network")}, "logits", {}),  # nothing linear behind it
        ({"embedding": Tap("network.fc", "input")}, "logits", {"same_classes": False}),
    ],
)
def test_what_is_as_wide_as_the_classes_is_not_always_logits(
    recipe: Recipe, taps: Taps, says: Says, known: dict[str, Any]
) -> None:
    recipe = recipe.but(anchors="confident-per-class", anchor_count=2)
    ready = prepare(recipe, CPU)
    assert ready.sets.train.labels is not None
    images = chosen(recipe, spoken(ready, taps, says, **known))
    labels = ready.sets.train.labels[places(images, ready)]
    assert labels.tolist() == [label for label in range(10) for _ in range(2)]  # by a probe
    logits = spoken(ready, {"embedding": Tap("network.fc", "input")}, "logits")
    with pytest.raises(Fault, match="class 0 offers"):  # it is right about few
        anchors_of(recipe.but(anchor_count=100), logits.sets, logits.pair)


def test_a_teacher_without_either_is_refused(recipe: Recipe) -> None:
    recipe = recipe.but(anchors="confident-per-class", anchor_count=2)
    ready = spoken(prepare(recipe, CPU), {}, "embedding")
    with pytest.raises(Fault, match="digits-cnn-large has neither; choose another") as caught:
        chosen(recipe, ready)
    assert "\n" not in str(caught.value)


def test_a_network_without_classes_is_probed(recipe: Recipe, tmp_path: Path) -> None:
    auto = recipe.but(student="mnist-ae-64", method="none", teacher=None, epochs=1)
    run(auto, tmp_path)
    recipe = auto.but(
        student="mnist-ae-32",
        method="rrkd",
        teacher=str(tmp_path),
        anchors="confident-per-class",
        anchor_count=2,
    )
    ready = prepare(recipe, CPU)
    assert ready.sets.train.labels is not None
    assert ready.anchors is not None
    labels = ready.sets.train.labels[places(ready.anchors, ready)]
    assert labels.tolist() == [label for label in range(10) for _ in range(2)]


def test_it_runs_with_them(recipe: Recipe, tmp_path: Path) -> None:
    record = run(recipe.but(anchors="random", anchor_count=9, epochs=1), tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["learner"]["anchors"].shape == (9, 1, 8, 8)
    assert record.rows[0].losses["rrkd"] > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"anchors": "random", "anchor_count": 9999}, "9999 anchors are more than 1438 images"),
        ({"anchors": "random-per-class", "anchor_count": 500}, "class 0 offers"),
        ({"anchors": "confident-per-class", "teacher": None}, "teacher"),
    ],
)
def test_what_cannot_be_had(
    recipe: Recipe, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(Fault) as caught:
        run(recipe.but(**changes), tmp_path / "run")
    assert words in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_method_that_uses_none_goes_without_and_says_so(recipe: Recipe, tmp_path: Path) -> None:
    record = run(recipe.but(anchors="random", method="sp"), tmp_path / "run")
    assert any("no term of this method uses anchors" in note for note in record.notes)
