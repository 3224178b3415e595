"""A student that begins with trained weights, and with a classifier of its own."""

from pathlib import Path

import torch
from torch import Tensor, nn

from relatum.data.seeds import generator
from relatum.discovery import find_classifier
from relatum.recipes.recipe import Recipe
from relatum.run.sets import Sets
from relatum.run.trained import on_disk, trained
from relatum.taps import Tap, Tapped
from relatum.types import Fault
from relatum.weights import fingerprint, load_state

SPREAD = 0.01
"""Standard deviation of a new classifier's weights, which have mean 0; its biases are 0."""


def begin(student: Tapped, recipe: Recipe, sets: Sets) -> str:
    """Give a new student the weights that its recipe names, statistics of BatchNorm included.

    The classifier, found by the embedding that it reads, starts anew from the recipe's seed,
    N(0, 0.01) with biases 0 as in CRD's transfer, however many classes the weights were trained
    for. Images are normalised as this set's are, whatever the weights were trained on.

    Returns:
        The SHA-256 of the weights, classifier included.

    Raises:
        Fault: there are no such weights, they are of another network, or the network has no
            classifier to start anew.
    """
    assert recipe.begin is not None
    network = student.network
    path = find_classifier(network, student.taps)
    headless = student.taps.get("embedding") == Tap("")
    if path is None and not headless:
        raise Fault(
            f"{recipe.student} does not end in one linear layer that reads its embedding, so there"
            " is no classifier to start anew"
        )
    if on_disk(recipe.begin) is None:
        raise Fault(f"there is no run and no file {recipe.begin} to begin with")
    source = trained(recipe.begin, sets)
    if source.name != recipe.student:
        raise Fault(
            f"{recipe.begin} is a {source.name} and the student a {recipe.student}: only a network"
            " of the same name can begin with its weights"
        )
    state = source.network.state_dict()
    if path is None:  # it ends in its embedding, and takes what it has of the other
        state = {name: value for name, value in state.items() if name in network.state_dict()}
    else:
        state |= _classifier(network, path, recipe.seed)
    load_state(network, state, Path(recipe.begin))
    return fingerprint(source.network)


def _classifier(network: nn.Module, path: str, seed: int) -> dict[str, Tensor]:
    """What the classifier holds, which starts anew."""
    classifier = network.get_submodule(path)
    assert isinstance(classifier, nn.Linear)
    with torch.no_grad():
        classifier.weight.normal_(std=SPREAD, generator=generator(seed, "classifier"))
        if classifier.bias is not None:
            classifier.bias.zero_()
    return {f"{path}.{name}": value for name, value in classifier.state_dict().items()}
