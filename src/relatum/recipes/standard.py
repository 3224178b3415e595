"""What is run when somebody names a set and nothing else: a pair of networks and a schedule."""

from collections.abc import Callable

from relatum.recipes.recipe import Recipe

GENTLE = ("mobilenetv2", "shufflenetv1", "shufflenetv2")
"""Networks that the CIFAR-100 benchmark trains at a learning rate of 0.01, not 0.05."""


def protocol(dataset: str, network: str) -> Recipe:
    """One network trained as in the CIFAR-100 benchmark (RepDistiller), whatever the set.

    240 epochs of batches of 64 with random crops and flips; SGD with momentum 0.9, no nesterov,
    weight decay 5e-4 on all parameters, learning rate 0.05 (0.01 for MobileNetV2 and the
    ShuffleNets), a tenth of it after epochs 150, 180 and 210. No validation part is cut, and the
    last epoch is what counts. The short last batch is dropped, as in giakoumoglou/distillers
    (RRD, DCD); RepDistiller keeps it: ``drop_last=False``.
    """
    return Recipe(
        dataset=dataset,
        augment=("crop", "flip"),
        student=network,
        epochs=240,
        batch_size=64,
        learning_rate=0.01 if network in GENTLE else 0.05,
        weight_decay=5e-4,
        schedule="steps",
        milestones=(150, 180, 210),
    )


def digits(
    teacher: str = "digits-cnn-large", student: str = "digits-cnn-small"
) -> tuple[Recipe, Recipe]:
    """The embedded default: seconds on any machine."""
    shared = Recipe(dataset="digits", epochs=30, batch_size=64, learning_rate=0.05)
    return shared.but(student=teacher), shared.but(student=student)


def mnist(teacher: str = "mnist-mlp-1200", student: str = "mnist-mlp-32") -> tuple[Recipe, Recipe]:
    """The classifiers of RRKD's experiment C, without its faults: 20 epochs, batch 128.

    Dropout is off in the student, which 32 units cannot afford; nor can they the teacher's learning
    rate of 0.1, at which KD's gradients leave none of them alive.
    """
    shared = Recipe(dataset="mnist", epochs=20, batch_size=128, learning_rate=0.1, weight_decay=0.0)
    small = {"dropout": 0.0, "learning_rate": 0.02} if student == "mnist-mlp-32" else {}
    return shared.but(student=teacher), shared.but(student=student, **small)


def fashion_mnist(
    teacher: str = "mnist-mlp-1200", student: str = "mnist-mlp-32"
) -> tuple[Recipe, Recipe]:
    """As MNIST."""
    teaching, learning = mnist(teacher, student)
    return teaching.but(dataset="fashion-mnist"), learning.but(dataset="fashion-mnist")


def cifar100(teacher: str = "resnet32x4", student: str = "resnet8x4") -> tuple[Recipe, Recipe]:
    """The benchmark's protocol (RepDistiller), on resnet32x4 and resnet8x4: 240 epochs."""
    return protocol("cifar100", teacher), protocol("cifar100", student)


def cifar10(teacher: str = "resnet32x4", student: str = "resnet8x4") -> tuple[Recipe, Recipe]:
    """As CIFAR-100."""
    return protocol("cifar10", teacher), protocol("cifar10", student)


def stl10(teacher: str = "resnet32x4", student: str = "resnet8x4") -> tuple[Recipe, Recipe]:
    """As CIFAR-100, at 32 pixels. Published is only the transfer to it (relatum transfer)."""
    return protocol("stl10", teacher), protocol("stl10", student)


def tiny_imagenet(teacher: str = "resnet32x4", student: str = "resnet8x4") -> tuple[Recipe, Recipe]:
    """As CIFAR-100, at 32 pixels. Published is the transfer to it (relatum transfer)."""
    return protocol("tiny-imagenet", teacher), protocol("tiny-imagenet", student)


def folder(teacher: str = "resnet56", student: str = "resnet8") -> tuple[Recipe, Recipe]:
    """Any images: resnet56 and resnet8 at 64 pixels, or at what others want, 60 epochs."""
    shared = Recipe(
        dataset="folder:.",
        augment=("crop", "flip"),
        epochs=60,
        batch_size=32,
        learning_rate=0.05,
    )
    return shared.but(student=teacher), shared.but(student=student)


STANDARD: dict[str, Callable[..., tuple[Recipe, Recipe]]] = {
    "digits": digits,
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "stl10": stl10,
    "tiny-imagenet": tiny_imagenet,
    "folder": folder,
}
"""Each from a teacher's and a student's name, with networks of its own where none is given."""


def standard(
    dataset: str, teacher: str | None = None, student: str | None = None
) -> tuple[Recipe, Recipe]:
    """The teacher's and the student's recipe for a set; a path means a folder.

    Args:
        dataset: its name, or the path of a folder.
        teacher: another network to teach than the set's usual one.
        student: likewise, to learn.
    """
    kind = dataset if dataset in STANDARD else "folder"
    named = {"teacher": teacher, "student": student}
    given = {role: network for role, network in named.items() if network is not None}
    teaching, learning = STANDARD[kind](**given)
    return teaching.but(dataset=dataset), learning.but(dataset=dataset)
