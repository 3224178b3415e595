"""The CIFAR-100 benchmark as recipes: its thirteen pairs, under its protocol or another set's.

The pairs and the protocol are those of RepDistiller (Tian, Krishnan, Isola, "Contrastive
Representation Distillation", ICLR 2020). A number of it is the accuracy after the last epoch on
10,000 test images that chose nothing. To tune something, cut ``validation=0.1`` off the 50,000
training images; final runs train on all of them.
"""

from typing import Any, NamedTuple

from relatum.recipes.recipe import Recipe
from relatum.recipes.standard import standard


class Pair(NamedTuple):
    """Who teaches whom, by the names of the networks."""

    teacher: str
    student: str

    def __str__(self) -> str:
        return f"{self.teacher}:{self.student}"


ALIKE = (
    Pair("wrn-40-2", "wrn-16-2"),
    Pair("wrn-40-2", "wrn-40-1"),
    Pair("resnet56", "resnet20"),
    Pair("resnet110", "resnet20"),
    Pair("resnet110", "resnet32"),
    Pair("resnet32x4", "resnet8x4"),
    Pair("vgg13", "vgg8"),
)
"""Pairs of one architecture, in the order of the published tables."""

ACROSS = (
    Pair("vgg13", "mobilenetv2"),
    Pair("resnet50-cifar", "mobilenetv2"),
    Pair("resnet50-cifar", "vgg8"),
    Pair("resnet32x4", "shufflenetv1"),
    Pair("resnet32x4", "shufflenetv2"),
    Pair("wrn-40-2", "shufflenetv1"),
)
"""Pairs of two architectures, likewise."""

PAIRS = ALIKE + ACROSS


def benchmark(
    dataset: str,
    teacher: str | None,
    student: str,
    method: str,
    seed: int = 0,
    scale: float = 1.0,
    **changes: Any,
) -> Recipe:
    """A student trained by a method, under the set's protocol.

    That is the benchmark's for CIFAR-100 (and sets like it), and the schedule of ``standard``
    with the networks replaced for others.

    Args:
        dataset: a set's name, or the path of a folder.
        teacher: who teaches, as ``Recipe.teacher`` has it: a run's folder or ``MODEL@WEIGHTS``;
            ``None`` for nobody.
        student: the network that learns.
        method: how.
        seed: of initialisation, order and augmentation.
        scale: a share of the epochs, for a first look; the recipe says so.
        changes: other fields of the recipe, of the whole course before it is scaled.

    Example:
        >>> recipe = benchmark("cifar100", "runs/vgg13", "mobilenetv2", "sp", scale=0.05)
        >>> recipe.learning_rate, recipe.epochs, recipe.milestones, recipe.last_batch
        (0.01, 12, (8, 9, 10), 'dropped')
    """
    learning = standard(dataset, student=student)[1]
    named = {"teacher": teacher, "method": method, "seed": seed}
    return learning.but(**{**named, **changes}).scaled(scale)


def teacher_of(dataset: str, teacher: str, scale: float = 1.0, **changes: Any) -> Recipe:
    """A teacher, trained alone under the same protocol; one, with seed 0, for all its students.

    Args:
        dataset: a set's name, or the path of a folder.
        teacher: the network.
        scale: as in ``benchmark``.
        changes: likewise.
    """
    return standard(dataset, teacher=teacher)[0].but(**changes).scaled(scale)
