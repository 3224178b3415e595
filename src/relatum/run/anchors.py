"""Which training images RRKD compares with, when not with the batch (its experiment E)."""

import torch
from torch import Tensor

from relatum.data import ImageSet
from relatum.discovery import classifies
from relatum.methods import Setting
from relatum.recipes.recipe import Recipe
from relatum.run.hearing import listen
from relatum.run.networks import Pair
from relatum.run.sets import Sets
from relatum.types import Fault, Images


def anchors_of(recipe: Recipe, sets: Sets, pair: Pair) -> Images | None:
    """The fixed anchors of a recipe, as images in [0, 1]; ``None`` for those of the batch.

    They are chosen by the recipe's seed alone: at random, at random within each class, or, in
    each class, those that the teacher classifies correctly with most confidence. (The authors'
    code looks the last up in a shuffled order and so takes other images.)

    Raises:
        Fault: there are too few images, or no labels, or no teacher to be confident, or one that
            has neither logits of these classes nor an embedding to probe.
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
            order = _by_confidence(pair, train, len(sets.classes))
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


def _by_confidence(pair: Pair, train: ImageSet, classes: int) -> Tensor:
    """Positions of the correctly classified samples, the most confident first."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    if pair.teacher is None:
        raise Fault("anchors 'confident-per-class' need a teacher")
    assert train.labels is not None
    tapped, labels = pair.teacher.tapped, train.labels.cpu()
    if _tells_classes(pair.setting, classes):
        chances = listen(tapped, train, ("output",)).cpu().values["output"].softmax(1)
    elif "embedding" in tapped.taps:  # as the authors do with an auto-encoder: by a probe
        said = listen(tapped, train, ("embedding",)).cpu()
        embedding = said.values["embedding"].flatten(1).double().numpy()
        with threadpool_limits(1):  # as a probe, and for its reasons
            probe = LogisticRegression(max_iter=5000).fit(embedding, labels.numpy())
        chances = torch.from_numpy(probe.predict_proba(embedding))
    else:
        raise Fault(
            f"anchors 'confident-per-class' go by a teacher's logits of the {classes} classes, or"
            f" by a probe on its embedding, and {pair.teacher_name} has neither; choose another"
            " teacher, or --set anchors=random-per-class"
        )
    confidence, guessed = chances.max(1)
    order = confidence.argsort(descending=True, stable=True)
    return order[guessed[order] == labels[order]]


def _tells_classes(setting: Setting, classes: int) -> bool:
    """Whether the teacher's output is logits of the set's classes, and not as wide by chance."""
    assert setting.teacher is not None
    fits = tuple(setting.teacher["output"])[1:] == (classes,)
    if setting.teacher_says != "logits" or not (fits and setting.same_classes):
        return False
    tapped = setting.teacher_network
    return tapped is None or classifies(tapped.network, tapped.taps)
