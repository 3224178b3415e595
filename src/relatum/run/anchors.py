"""Which training images RRKD compares with, when not with the batch (its experiment E)."""

import torch
from torch import Tensor

from relatum.data import ImageSet
from relatum.recipes.recipe import Recipe
from relatum.run.hearing import listen
from relatum.run.sets import Sets
from relatum.run.several_teachers import AnyTeacher
from relatum.types import Fault, Images


def anchors_of(recipe: Recipe, sets: Sets, teacher: AnyTeacher | None) -> Images | None:
    """The fixed anchors of a recipe, as images in [0, 1]; ``None`` for those of the batch.

    They are chosen by the recipe's seed alone: at random, at random within each class, or, in
    each class, those that the teacher classifies correctly with most confidence. (The authors'
    code looks the last up in a shuffled order and so takes other images.)

    Raises:
        Fault: there are too few images, or no labels, or no teacher to be confident.
    """
    if recipe.anchors == "batch":
        return None
    train = sets.train
    generator = torch.Generator().manual_seed(recipe.seed)
    order = torch.randperm(len(train), generator=generator)
    if recipe.anchors == "random":
        if recipe.anchor_count > len(train):
            raise Fault(f"{recipe.anchor_count} anchors are more than {len(train)} images")
        chosen = order[: recipe.anchor_count]
    else:
        if train.labels is None or not recipe.labels:
            raise Fault(f"anchors {recipe.anchors!r} need labels, and there are none to use")
        if recipe.anchors == "confident-per-class":
            if teacher is None:
                raise Fault("anchors 'confident-per-class' need a teacher")
            order = _by_confidence(teacher, train, len(sets.classes))
        labels = train.labels.cpu()[order]
        chosen = torch.cat(
            [
                _first(order[labels == label], recipe.anchor_count, sets.classes[label])
                for label in range(len(sets.classes))
            ]
        )
    return train.float(chosen.to(train.device))


def _first(places: Tensor, count: int, name: str) -> Tensor:
    if len(places) < count:
        raise Fault(f"class {name} offers {len(places)} anchors, {count} were wanted")
    return places[:count]


def _by_confidence(teacher: AnyTeacher, train: ImageSet, classes: int) -> Tensor:
    """Positions of the correctly classified samples, the most confident first."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    assert train.labels is not None
    on = ("output", "embedding")
    said = listen(teacher.tapped, train, on).cpu()
    labels = train.labels.cpu()
    if said.values["output"].shape[1:] == (classes,):
        chances = said.values["output"].softmax(1)
    else:  # a network without classes: as the authors do, by a probe on its embedding
        embedding = said.values["embedding"].flatten(1).double().numpy()
        with threadpool_limits(1):  # as a probe, and for its reasons
            probe = LogisticRegression(max_iter=5000).fit(embedding, labels.numpy())
        chances = torch.from_numpy(probe.predict_proba(embedding))
    confidence, guessed = chances.max(1)
    order = confidence.argsort(descending=True, stable=True)
    return order[guessed[order] == labels[order]]
