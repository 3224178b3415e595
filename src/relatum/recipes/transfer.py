"""What distilled features are worth on images that they were not distilled on.

The protocol is that of giakoumoglou/distillers (``transfer_student.py``), after CRD's section on
transferability, whose own settings were never published: a WRN-16-2 distilled on CIFAR-100, a new
classifier, STL-10 and Tiny-ImageNet at 32 pixels. It differs in one thing, by default: the
features are frozen indeed. Any student and any labelled set will do.
"""

from collections.abc import Mapping
from typing import Any, Literal

from relatum.recipes.recipe import Recipe

Way = Literal["frozen", "drifting", "probe"]

WAYS: Mapping[Way, Mapping[str, Any]] = {
    "frozen": {"method": "linear"},
    "drifting": {"method": "linear-drifting"},
    "probe": {
        "method": "none",
        "epochs": 0,
        "schedule": "constant",
        "milestones": (),
        "augment": (),
        "probes": ("linear",),
    },
}
"""How features are judged: by a classifier trained on them while they rest; the same while
BatchNorm drifts to the new images, as in the published code; or by logistic regression on the
features of images as they are, which takes seconds. Numbers of two ways are not comparable."""


def transfer(
    begin: str, student: str, dataset: str, seed: int = 0, way: Way = "frozen", **changes: Any
) -> Recipe:
    """A trained student's features under a new classifier, on another set.

    120 epochs of batches of 64 (the short last one kept) with random crops and flips; SGD with
    momentum 0.9 and weight decay 5e-4, learning rate 0.05, a tenth of it after epochs 30, 60 and
    90. The classifier begins as N(0, 0.01) with biases 0. Images come at the new set's size (32
    pixels for the two of the protocol) and are normalised as that set is.

    Args:
        begin: the folder of a run, or ``MODEL@WEIGHTS``.
        student: the network whose weights those are.
        dataset: the set to go to.
        seed: of the classifier, order and augmentation.
        way: how the features are judged (``WAYS``).
        changes: other fields of the recipe.

    Example:
        >>> recipe = transfer("runs/cifar100/rrd/seed-0", "wrn-16-2", "stl10")
        >>> recipe.method, recipe.epochs, recipe.milestones, recipe.last_batch
        ('linear', 120, (30, 60, 90), 'kept')
    """
    course: dict[str, Any] = {
        "dataset": dataset,
        "augment": ("crop", "flip"),
        "student": student,
        "begin": begin,
        "seed": seed,
        "epochs": 120,
        "batch_size": 64,
        "drop_last": False,
        "learning_rate": 0.05,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "schedule": "steps",
        "milestones": (30, 60, 90),
    }
    return Recipe.of({**course, **WAYS[way], **changes})
