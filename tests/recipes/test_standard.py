import pytest
import torch

from relatum.data import augmentations
from relatum.datasets import DATASETS
from relatum.models import MODELS, create
from relatum.recipes.recipe import Recipe
from relatum.recipes.standard import STANDARD, standard

SHAPES = {"digits": (1, 8, 10), "mnist": (1, 28, 10), "fashion-mnist": (1, 28, 10)}
SHAPES |= {"stl10": (3, 32, 10), "tiny-imagenet": (3, 32, 200)}
SHAPES |= {"cifar10": (3, 32, 10), "cifar100": (3, 32, 100), "folder": (3, 64, 7)}


@pytest.mark.parametrize("name", STANDARD)
def test_it_is_valid_and_what_it_names_exists(name: str) -> None:
    channels, size, classes = SHAPES[name]
    sizes = []
    for recipe in STANDARD[name]():
        assert Recipe.of(recipe.model_dump()) == recipe
        assert recipe.dataset in DATASETS or recipe.dataset.startswith("folder:")
        assert recipe.student in MODELS
        augmentations(recipe.augment)
        recipe.schedule_of()
        network = create(recipe.student, channels=channels, size=size, classes=classes).eval()
        with torch.no_grad():
            assert network(torch.zeros(2, channels, size, size)).shape == (2, classes)
        sizes.append(sum(each.numel() for each in network.parameters()))
    assert sizes[0] > 5 * sizes[1]  # the teacher first


@pytest.mark.parametrize("name", STANDARD)
def test_teacher_and_student_train_alike(name: str) -> None:
    teacher, student = STANDARD[name]()
    own = {name: getattr(teacher, name) for name in ("student", "dropout", "learning_rate")}
    assert student.but(**own) == teacher
    small = student.student == "mnist-mlp-32"  # which dies at its teacher's rate
    assert student.learning_rate == (0.02 if small else teacher.learning_rate)


def test_every_named_set_has_one() -> None:
    assert set(STANDARD) == {*DATASETS, "folder"}


def test_the_benchmarks_protocol() -> None:
    """RepDistiller's: 240 epochs, batch 64, SGD 0.05 / 0.9 / 5e-4, a tenth at 150, 180, 210."""
    teacher, student = standard("cifar100")
    assert (teacher.student, student.student) == ("resnet32x4", "resnet8x4")
    assert (student.epochs, student.batch_size, student.milestones) == (240, 64, (150, 180, 210))
    assert (student.learning_rate, student.momentum, student.weight_decay) == (0.05, 0.9, 5e-4)
    assert student.augment == ("crop", "flip")


def test_a_path_means_a_folder() -> None:
    for path in ("folder:/some/where", "./photos"):
        teacher, student = standard(path)
        assert teacher.dataset == student.dataset == path
        assert student.image_size is None
    assert standard("cifar10")[1].dataset == "cifar10"
