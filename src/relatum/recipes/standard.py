"""What is run when somebody names a set and nothing else: a pair of networks and a schedule."""

from collections.abc import Callable

from relatum.recipes.recipe import Recipe


def digits() -> tuple[Recipe, Recipe]:
    """The embedded default: seconds on any machine."""
    shared = Recipe(dataset="digits", epochs=30, batch_size=64, learning_rate=0.05)
    return shared.but(student="digits-cnn-large"), shared.but(student="digits-cnn-small")


def mnist() -> tuple[Recipe, Recipe]:
    """The classifiers of RRKD's experiment C, without its faults: 20 epochs, batch 128.

    Dropout is off in the student, which 32 units cannot afford.
    """
    shared = Recipe(dataset="mnist", epochs=20, batch_size=128, learning_rate=0.1, weight_decay=0.0)
    return shared.but(student="mnist-mlp-1200"), shared.but(student="mnist-mlp-32", dropout=0.0)


def fashion_mnist() -> tuple[Recipe, Recipe]:
    """As MNIST."""
    teacher, student = mnist()
    return teacher.but(dataset="fashion-mnist"), student.but(dataset="fashion-mnist")


def cifar100() -> tuple[Recipe, Recipe]:
    """The benchmark's protocol (RepDistiller), on resnet32x4 and resnet8x4: 240 epochs.

    The short last batch is left out, as in RRD's code; RepDistiller keeps it.
    """
    shared = Recipe(
        dataset="cifar100",
        augment=("crop", "flip"),
        epochs=240,
        batch_size=64,
        learning_rate=0.05,
        weight_decay=5e-4,
        schedule="steps",
        milestones=(150, 180, 210),
    )
    return shared.but(student="resnet32x4"), shared.but(student="resnet8x4")


def cifar10() -> tuple[Recipe, Recipe]:
    """As CIFAR-100."""
    teacher, student = cifar100()
    return teacher.but(dataset="cifar10"), student.but(dataset="cifar10")


def folder() -> tuple[Recipe, Recipe]:
    """Any folder of images: resnet56 and resnet8 at 64 pixels, 60 epochs."""
    shared = Recipe(
        dataset="folder:.",
        image_size=64,
        augment=("crop", "flip"),
        epochs=60,
        batch_size=32,
        learning_rate=0.05,
    )
    return shared.but(student="resnet56"), shared.but(student="resnet8")


STANDARD: dict[str, Callable[[], tuple[Recipe, Recipe]]] = {
    "digits": digits,
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "folder": folder,
}


def standard(dataset: str) -> tuple[Recipe, Recipe]:
    """The teacher's and the student's recipe for a set; a path means a folder."""
    kind = dataset if dataset in STANDARD else "folder"
    teacher, student = STANDARD[kind]()
    return teacher.but(dataset=dataset), student.but(dataset=dataset)
