"""Each network sees images of its own size, and taps that are named by a module's path."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from relatum.models import create
from relatum.recipes.recipe import Recipe
from relatum.run import run
from relatum.run.again import evaluate_again
from relatum.run.networks import pair_of
from relatum.run.prepare import prepare
from relatum.run.sets import sets_of
from relatum.run.sizes import enlarged_for_teacher, kept_at, settled, student_size
from relatum.run.trained import trained
from relatum.taps import Tap, Tapped
from relatum.types import Fault
from relatum.weights import about_weights, save_weights
from tests.run.runs import CPU


def test_two_sizes_from_the_same_images(recipe: Recipe, tmp_path: Path) -> None:
    recipe = recipe.but(student_size=12, teacher_size=16, method="rkd", epochs=1)
    sets = sets_of(recipe, CPU)
    pair = pair_of(recipe, sets, CPU)
    assert pair.teacher is not None
    assert pair.student.input.size == (12, 12)
    images = sets.test.float(slice(0, 2))
    assert pair.student.prepare(images).shape[-2:] == (12, 12)
    record = run(recipe, tmp_path / "run")
    about = about_weights(tmp_path / "run" / "student.safetensors")
    assert (about["size"], about["input_size"]) == ("12", "12")
    again = evaluate_again(tmp_path / "run")
    assert again == pytest.approx({name: record.metrics[name] for name in again})
    source = trained(str(tmp_path / "run"), sets)
    assert source.input.size == (12, 12)  # as a teacher of others it still sees 12 pixels
    assert source.input.mean == sets.input.mean


def centre(images: torch.Tensor) -> torch.Tensor:
    """Where the light of each image lies, as shares of its height and width."""
    light = images.mean(1).clamp(min=0.0)
    places = [
        (light.sum(3 - axis) * (torch.arange(light.shape[axis]) + 0.5)).sum(1)
        / light.sum((1, 2))
        / light.shape[axis]
        for axis in (1, 2)
    ]
    return torch.stack(places, 1)


def test_both_networks_see_the_same_crop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.zeros((48, 48, 3), dtype=np.uint8)
    pixels[6:14, 4:12] = 255  # a white corner, and black: all else that crops bring in
    for number in range(16):
        folder = tmp_path / "images" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    network = create("resnet8", channels=3, size=42, classes=2)
    about = {"mean": "0.5 0.4 0.3", "std": "0.2 0.3 0.4", "input_size": "42", "model": "resnet8"}
    about |= {"channels": "3", "size": "42", "classes": "2"}
    save_weights(network, tmp_path / "teacher.safetensors", about)
    seen: list[tuple[int, torch.Tensor]] = []
    prepare = Tapped.prepare

    def noted(self: Tapped, images: torch.Tensor) -> torch.Tensor:
        prepared = prepare(self, images)
        if self.network.training or not any(p.requires_grad for p in self.network.parameters()):
            seen.append((prepared.shape[-1], prepared * self.std + self.mean))
        return prepared

    monkeypatch.setattr(Tapped, "prepare", noted)
    recipe = Recipe(dataset=str(tmp_path / "images"), student="resnet8", method="rkd", epochs=2)
    recipe = recipe.but(teacher=str(tmp_path / "teacher.safetensors"), augment=("crop", "flip"))
    run(recipe.but(student_size=30, batch_size=6, image_size=48), tmp_path / "run")
    steps = [
        (centre(said), centre(other))
        for (mine, said), (its, other) in itertools.pairwise(seen)
        if (mine, its) == (42, 30) and len(said) == len(other)
    ]
    assert len(steps) >= 4
    teacher, student = (torch.cat(each) for each in zip(*steps, strict=True))
    torch.testing.assert_close(student, teacher, atol=0.01, rtol=0)
    assert (teacher.std(0) > 0.03).all()  # crops move it, and flips throw it to the other side
    assert ((teacher[:, 1] > 0.5).any() & (teacher[:, 1] < 0.5).any()).item()


def test_files_from_before_sizes_were_kept(taught: Path, recipe: Recipe, tmp_path: Path) -> None:
    about = about_weights(taught / "student.safetensors")
    network = trained(str(taught), sets_of(recipe, CPU)).network
    old = tmp_path / "old.safetensors"
    del about["input_size"]
    save_weights(network, old, about)
    assert trained(str(old), sets_of(recipe, CPU)).input.size is None


def test_own_sizes_are_for_images_of_the_users_own() -> None:
    pytest.importorskip("timm")
    recipe = Recipe(dataset="folder:photos", student="resnet8", teacher="timm/resnet18:pretrained")
    assert kept_at(recipe) == 224
    assert kept_at(recipe.but(teacher_size=96)) == 96
    assert kept_at(recipe.but(teacher_size=96, student_size=128)) == 128
    assert kept_at(recipe.but(image_size=50)) == 50
    assert student_size(recipe) is None
    vit = recipe.but(student="timm/vit_tiny_patch16_224", teacher=None)
    assert student_size(vit) == kept_at(vit) == 224
    assert student_size(vit.but(dataset="cifar100")) is kept_at(vit.but(dataset="cifar100")) is None
    alone = recipe.but(teacher=None)
    assert [each.image_size for each in settled([alone, vit])] == [224, 224]
    assert settled([alone])[0].image_size == 64
    assert settled([alone.but(dataset="digits")])[0].image_size is None


def test_modules_are_named_by_their_paths(recipe: Recipe) -> None:
    for method, places in (
        ("sp@stages.0", ("stages.0", "stages.0")),
        ("sp@stages.0:stages.1.conv", ("stages.0", "stages.1.conv")),
        ("sp@embedding:stages.1", ("embedding", "stages.1")),
    ):
        chosen = recipe.but(method=method)
        pair = pair_of(chosen, sets_of(chosen, CPU), CPU)
        name = method.partition("@")[2]
        student, teacher = pair.setting.student_network, pair.setting.teacher_network
        assert student is not None
        assert teacher is not None
        for tapped, place in zip((student, teacher), places, strict=True):
            own = tapped.taps["embedding"]
            assert tapped.taps[name] == (own if place == "embedding" else Tap(place))


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("sp@stages.7", ["the teacher", "'stages.7'", "stages.0", "its taps are", "embedding"]),
        ("sp@maps:nowhere", ["the teacher", "'nowhere'"]),
        ("sp@nowhere:maps", ["the student", "'nowhere'"]),
    ],
)
def test_a_module_that_is_not_there(recipe: Recipe, method: str, words: list[str]) -> None:
    with pytest.raises(Fault) as caught:
        pair_of(recipe.but(method=method), sets_of(recipe, CPU), CPU)
    for word in words:
        assert word in str(caught.value)


def test_weights_of_a_network_without_a_classifier(recipe: Recipe, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    name, file = "timm/mobilenetv3_small_050", tmp_path / "bare.pth"
    for classes in (0, 21):
        torch.save(create(name, channels=1, size=8, classes=classes).state_dict(), file)
        network = trained(f"{name}@{file}", sets_of(recipe, CPU)).network
        width = classes or 1024
        assert network.eval()(torch.rand(2, 1, 32, 32)).shape == (2, width)


def test_a_network_that_sees_images_enlarged_says_so(recipe: Recipe) -> None:
    recipe = recipe.but(student_size=12)
    (said,) = (each for each in prepare(recipe, CPU).warnings(recipe) if "enlarged" in each)
    assert said == "the student sees images of 12x12 pixels, enlarged from 8x8"
    alone = recipe.but(teacher=None, method="none", student_size=12)
    (said,) = (each for each in prepare(alone, CPU).warnings(alone) if "enlarged" in each)
    assert said.startswith("the network sees images")  # it may be a teacher that is trained
    smaller = recipe.but(student_size=6)
    assert not [each for each in prepare(smaller, CPU).warnings(smaller) if "enlarged" in each]


def test_simkd_wants_one_size(recipe: Recipe) -> None:
    recipe = recipe.but(method="simkd", student_size=12)
    with pytest.raises(Fault, match="student sees 12 pixels and the teacher 8"):
        pair_of(recipe, sets_of(recipe, CPU), CPU)


def test_a_student_that_is_dear_for_its_teacher_s_sake(tmp_path: Path) -> None:
    recipe = Recipe(dataset=f"folder:{tmp_path}", student="resnet8")
    said = enlarged_for_teacher(recipe, 224)
    assert said is not None
    assert "kept at 224 pixels" in said
    assert "student_size=64" in said
    assert enlarged_for_teacher(recipe, 64) is None
    for own in (recipe.but(student_size=64), recipe.but(image_size=224), Recipe()):
        assert enlarged_for_teacher(own, 224) is None
