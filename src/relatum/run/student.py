"""A recipe's student, before it has learnt anything: how many outputs, and how it sees images."""

from dataclasses import replace

from torch import Size, nn

from relatum import models
from relatum.models.foreign import published
from relatum.recipes.recipe import Recipe
from relatum.run.places import named_places
from relatum.run.run_teacher import Known
from relatum.run.sets import Sets
from relatum.run.sizes import student_size
from relatum.run.trained import PRETRAINED, for_channels, made_for
from relatum.types import Fault, Input


def outputs_of(recipe: Recipe, sets: Sets, teacher: Known | None) -> int:
    """How many outputs a student gets: the set's classes, or as many as its teacher's logits.

    Where there are neither, no method can teach it any, but for a loss of the user's own that
    reads the output (``@output``): then none, if the network can be built so, and else one.
    """
    if sets.classes:
        return len(sets.classes)
    if teacher is None:
        return 1
    asked = any("output" in name.split(":") for name in named_places(recipe.method))
    if teacher.says != "logits" and not asked:
        return 0 if models.can_embed(recipe.student) else 1
    shape = teacher.shapes["output"]
    assert isinstance(shape, Size)
    return shape[-1] if len(shape) == 2 else 1


def new_student(recipe: Recipe, sets: Sets, outputs: int) -> nn.Module:
    """A new network, with so many outputs."""
    network = models.create(recipe.student, **made_for(sets, outputs, student_size(recipe)))
    if recipe.dropout is not None:
        _set_dropout(network, recipe.dropout, recipe.student)
    if recipe.sync_batchnorm:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return network


def student_input(recipe: Recipe, sets: Sets) -> Input:
    """How a student sees the images.

    At its own size, where it has one, and normalised as for the published weights with which it
    begins; else as the set has it.
    """
    side, input = student_size(recipe), sets.input
    if recipe.student.endswith(PRETRAINED):
        own = published(recipe.student.removesuffix(PRETRAINED))[1]
        input = for_channels(own, sets.shape[0])
    return replace(input, size=None if side is None else (side, side))


def _set_dropout(network: nn.Module, probability: float, name: str) -> None:
    layers = [each for each in network.modules() if isinstance(each, nn.Dropout)]
    if not layers:
        raise Fault(f"dropout was set, but {name} has no dropout layer")
    for layer in layers:
        layer.p = probability
