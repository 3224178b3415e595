"""All that a recipe names, ready to be trained: sets, networks, stages, batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relatum.data import Batches
from relatum.distiller import Distiller
from relatum.grammar import stages
from relatum.methods import Stage
from relatum.recipes.plan import Alteration
from relatum.recipes.recipe import Recipe
from relatum.run.anchors import anchors_of
from relatum.run.networks import Pair, pair_of
from relatum.run.sets import Sets, sets_of, training_batches
from relatum.types import Images


@dataclass(frozen=True, eq=False)
class Prepared:
    """A recipe's parts, on the device.

    Attributes:
        sets: the images.
        pair: the networks.
        stages: what is minimised, one after the other.
        batches: what is trained on.
        anchors: fixed images that RRKD compares with, if there are any.
    """

    sets: Sets
    pair: Pair
    stages: tuple[Stage, ...]
    batches: Batches
    anchors: Images | None

    def distiller(
        self, stage: Stage, alter: Alteration | None = None
    ) -> tuple[Distiller, Sequence[str]]:
        """What trains in a stage, and the names of the parameters that do not learn in it."""
        distiller = Distiller(self.pair.student, self.pair.teacher, stage.objective, self.anchors)
        distiller.to(self.sets.train.images.device)
        self.pair.student.requires_grad_(True)
        if alter is not None:
            alter(distiller, self.sets.train)
        return distiller, distiller.rest(next(self.batches.epoch(1)))


def prepare(recipe: Recipe, device: torch.device, download: bool = False) -> Prepared:
    """Load and build what a recipe names. Seeds the randomness of the process.

    Raises:
        Fault: something is unknown, missing, damaged, or does not fit.
    """
    sets = sets_of(recipe, device, download)
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
    torch.manual_seed(recipe.seed)
    pair = pair_of(recipe, sets, device)
    # after the student, so that one seed gives all methods the same one to begin with
    plan = stages(recipe.method, pair.setting)
    batches = training_batches(recipe, sets)
    return Prepared(sets, pair, plan, batches, anchors_of(recipe, sets, pair.teacher))


def optimizer_of(recipe: Recipe, distiller: Distiller) -> torch.optim.Optimizer:
    """SGD over all that learns, its learning rate a tensor where the device can use one."""
    device = next(distiller.learner.parameters()).device
    fused = device.type in ("cpu", "cuda")
    rate: float | Tensor = recipe.learning_rate
    if fused:
        rate = torch.tensor(recipe.learning_rate, device=device)
    return torch.optim.SGD(
        distiller.parameters(),
        lr=rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=fused,
    )
