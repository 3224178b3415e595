"""From a recipe to its images, on the device: training, validation and test part."""

from dataclasses import dataclass
from pathlib import Path

import torch

from relatum import together
from relatum.data import Batches, ImageSet, augmentations, cut
from relatum.data.seeds import generator
from relatum.datasets import DATASETS, Dataset, load
from relatum.datasets.room import room
from relatum.recipes.recipe import Recipe
from relatum.run.sizes import kept_at
from relatum.spelling import own_set
from relatum.types import Fault, Input


@dataclass(frozen=True, eq=False)
class Sets:
    """The parts of a set, as a recipe cuts it.

    Attributes:
        name: the set's.
        train: what is learnt from.
        validation: what may be chosen by, cut from the training set; ``None`` when not cut.
        test: what is reported, and never chosen by.
        classes: their names; empty when unlabelled.
        input: how networks made for this set want its images.
        note: where the set comes from, and what of it is trained on where that is not all.
        said: what is worth a line when a run begins, as of ``Dataset``.
        source: the set before anything was cut from it: what tables of a teacher are keyed by.
    """

    name: str
    train: ImageSet
    validation: ImageSet | None
    test: ImageSet
    classes: tuple[str, ...]
    input: Input
    note: str
    said: tuple[str, ...]
    source: Dataset

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.train.shape

    @property
    def samples(self) -> dict[str, int]:
        """How many images each part holds."""
        validation = 0 if self.validation is None else len(self.validation)
        return {"train": len(self.train), "validation": validation, "test": len(self.test)}


_loaded: dict[tuple[object, ...], Dataset] = {}


def sets_of(recipe: Recipe, device: torch.device, download: bool = False) -> Sets:
    """Load a recipe's set, cut it, and move it to a device.

    The last set stays in memory, for the next run of an experiment.

    Raises:
        Fault: the set is unknown, missing or damaged.
    """
    own = own_set(recipe.dataset, DATASETS) is not None
    automatic = own and recipe.memory == "auto"  # what there is room for hangs on the device
    size = kept_at(recipe)
    key = (
        *(recipe.dataset, recipe.data_root, size, recipe.skip_broken, recipe.memory),
        device.type if automatic else None,
    )
    if key not in _loaded:
        root = Path(recipe.data_root) if recipe.data_root else None
        dataset = together.in_turn(
            lambda: load(
                recipe.dataset,
                root=root,
                download=download,
                image_size=size,
                memory=recipe.memory,
                skip_broken=recipe.skip_broken,
                room=room(device) if automatic else None,
            )
        )
        _loaded.clear()
        _loaded[key] = dataset
    dataset = _loaded[key]
    train, validation = dataset.train, None
    if recipe.validation:
        train, validation = cut(train, recipe.validation, recipe.split_seed)
    note = dataset.note
    if recipe.samples is not None:
        train, drawn = _drawn(train, recipe, dataset.classes)
        note = f"{note}; {drawn}" if note else drawn
    return Sets(
        name=dataset.name,
        train=train.to(device),
        validation=None if validation is None else validation.to(device),
        test=dataset.test.to(device),
        classes=dataset.classes,
        input=Input(mean=dataset.mean, std=dataset.std),
        note=note,
        said=dataset.said,
        source=dataset,
    )


def _drawn(train: ImageSet, recipe: Recipe, classes: tuple[str, ...]) -> tuple[ImageSet, str]:
    """The training images that a recipe draws, in the order of the set, and a word about them.

    The classes take turns in one random order, so their numbers differ by one at most unless a
    class is exhausted, and of two draws with one seed the larger holds the smaller. Where labels
    may not be used, the first of that order are drawn.

    Raises:
        Fault: there are not so many.
    """
    wanted, seed = recipe.samples, recipe.split_seed
    assert wanted is not None
    if wanted > len(train):
        raise Fault(
            f"{wanted:,} samples are more than the {len(train):,} training images of"
            f" {recipe.dataset}; draw at most {len(train)} (samples)"
        )
    order = torch.randperm(len(train), generator=generator(seed, "samples"))
    said = f"trained on {wanted:,} of {len(train):,} images, drawn by split_seed {seed}"
    if train.labels is None or not recipe.labels:
        return train.take(order[:wanted].sort().values), said
    labels = train.labels.cpu()[order]
    turns = torch.empty_like(labels)
    for label in labels.unique():  # type: ignore[no-untyped-call]
        own = labels == label
        turns[own] = torch.arange(int(own.sum()))
    chosen = order[turns.argsort(stable=True)[:wanted]].sort().values
    each = train.labels.cpu()[chosen].bincount(minlength=len(classes))
    low, high = int(each.min()), int(each.max())
    return train.take(chosen), f"{said}, {low if low == high else f'{low} to {high}'} of each class"


def training_batches(recipe: Recipe, sets: Sets) -> Batches:
    """The batches that a recipe trains on; without labels where it may not use them.

    Raises:
        Fault: the training part is smaller than a batch.
    """
    data = sets.train if recipe.labels else sets.train.unlabelled()
    if recipe.drop_last and recipe.batch_size > len(data):
        raise Fault(
            f"a batch of {recipe.batch_size} is more than the {len(data)} training images of"
            f" {sets.name}; choose a smaller one (--set batch_size={len(data)})"
        )
    return Batches(
        data,
        recipe.batch_size,
        shuffle=True,
        augment=augmentations(recipe.augment),
        seed=recipe.seed,
        drop_last=recipe.drop_last,
        shared=True,
        views=recipe.views,
    )
