"""Look at a network: its taps, its input, its size, its work."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Size, nn
from torch.nn.modules.batchnorm import _BatchNorm

from relatum import models
from relatum.datasets import DATASETS, Dataset, load
from relatum.discovery import find_classifier
from relatum.discovery.seen import DryRun
from relatum.evaluate import macs, parameters
from relatum.models.foreign import PRETRAINED, published
from relatum.run.networks import tap
from relatum.run.sizes import own_size
from relatum.run.trained import Built, built_from, on_disk
from relatum.spelling import own_set
from relatum.taps import Tap, Tapped, shapes
from relatum.types import Fault, Input, first_line

SIZE, CHANNELS, CLASSES = 64, 3, 10
"""What a network is built for where nothing says it."""
WORDS = {
    "embedding": "one vector an image, which enters the classifier",
    "maps": "the last map, before pooling",
    "stem": "the map before the stages",
    "stages": "the last map of each stage",
    "preactivations": "the stages before their ReLU",
    "final": "the map whose mean is the embedding",
    "tokens": "tokens of patches",
    "class_token": "the first token, of no patch",
    "mean_token": "the mean of the tokens of patches",
}
"""What the taps are, by their names."""


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        facts: a line for each thing that is known, by its name.
        taps: name, place, shape for each image, what it is.
        modules: path, kind, shape of what leaves it for each image; of those that run.
    """

    facts: dict[str, str]
    taps: list[tuple[str, ...]]
    modules: list[tuple[str, ...]]


def inspect_model(
    name: str,
    *,
    data: str | None = None,
    size: int | None = None,
    channels: int | None = None,
    classes: int | None = None,
    data_root: Path | None = None,
    download: bool = False,
) -> Inspection:
    """Build or load a network, run it once at rest, and say what it is.

    Args:
        name: as ``--student`` or ``--teacher`` take it.
        data: the set whose channels, size and classes it is built for.
        size: pixels a side, otherwise.
        channels: of the images, otherwise.
        classes: to tell apart, otherwise.
        data_root: where the set's files are.
        download: fetch the set if it is missing.

    Raises:
        Fault: there is no such network, or it cannot be run on such images.
    """
    images = None if data is None else load(data, root=data_root, download=download)
    own = images is not None and own_set(images.name, DATASETS) is not None
    shape = None if images is None else images.train.shape
    asked = {
        "channels": channels or (shape[0] if shape else None),
        "size": size or (shape[1] if shape and not own else None),
        "classes": classes if classes is not None else (len(images.classes) if images else None),
    }
    built, source = _built(name, asked, images)
    side = asked["size"] or (built.input.size[0] if built.input.size else built.made["size"])
    input = built.input
    if asked["size"] or input.size is None:
        input = replace(input, size=(side, side))
    try:
        example = torch.zeros(2, built.made["channels"], side, side)
        tapped = tap(built.network, input, example)
        given = shapes(tapped, example)
        run = DryRun(built.network, tapped.prepare(example))
    except (RuntimeError, TypeError, ValueError, AssertionError, OverflowError) as error:
        if isinstance(error, Fault):
            raise
        what = f"{built.made['channels']} by {side} by {side}"
        other = "" if asked["size"] else f"; it may be of others: --size {3 * SIZE + 32}"
        raise Fault(
            f"{name} cannot be run on images of {what}: {first_line(error)}{other}"
        ) from error
    rows = [_row(each, tapped, given[each]) for each in tapped.taps]
    returned = given["output"]
    assert isinstance(returned, Size)
    output = ("output", "(the network)", _shape(returned), _says(tapped))
    facts = _facts(name, tapped, built, source)
    modules: list[tuple[str, ...]] = [
        (each.path, type(each.module).__name__ + _again(each.runs), _shape(each.left.shape))
        for each in run.every
    ]
    return Inspection(facts, [*rows, output], modules)


def _built(name: str, asked: dict[str, int | None], data: Dataset | None) -> tuple[Built, str]:
    """A network, as it is named; and where its input comes from."""
    usual = {"channels": CHANNELS, "size": SIZE, "classes": CLASSES}
    like = Input() if data is None else Input(mean=data.mean, std=data.std)
    whose = "not normalised: no set is named (--data)" if data is None else f"of {data.name}"
    if (found := on_disk(name)) is not None:
        size = asked["size"] or own_size(found[0]) or SIZE
        made = {key: value or usual[key] for key, value in asked.items()} | {"size": size}
        built = built_from(*found, made, like)
        return built, "its file of weights" if built.told else whose
    if name.endswith(PRETRAINED):
        classes, input = published(name.removesuffix(PRETRAINED))
        usual["classes"], like, whose = classes, input, "its published weights"
    size = asked["size"] or own_size(name) or SIZE
    made = {key: usual[key] if value is None else value for key, value in asked.items()}
    made["size"] = size
    return Built(models.create(name, **made), name, like, made, False), whose


def _facts(name: str, tapped: Tapped, built: Built, source: str) -> dict[str, str]:
    network, input = tapped.network, tapped.input
    assert input.size is not None
    shape = (built.made["channels"], *input.size)
    kind = type(network).__name__
    classifier = find_classifier(network, tapped.taps)
    norms = [each for each in network.modules() if isinstance(each, _BatchNorm)]
    count = parameters(network)
    facts = {
        "model": f"{name} ({kind})" if built.name == name else f"{name}: {built.name} ({kind})",
        "input": " by ".join(map(str, shape)),
        "normalised": f"mean {_numbers(input.mean)}, deviation {_numbers(input.std)} ({source})",
        "parameters": f"{count:,}",
        "MACs": f"{macs(network, shape):,} an image",
        "coupling": _coupling(norms),
        "classifier": classifier or "none: it ends in no single linear layer behind the embedding",
    }
    return facts


def _coupling(norms: Sequence[nn.Module]) -> str:
    if not norms:
        return "no layer couples the images of a batch"
    kind = type(norms[0]).__name__
    return f"{len(norms)} layers take statistics of a batch ({kind}), which processes share or not"


def _row(name: str, tapped: Tapped, given: Size | tuple[Size, ...]) -> tuple[str, ...]:
    tap_or_taps = tapped.taps[name]
    taps = (tap_or_taps,) if isinstance(tap_or_taps, Tap) else tap_or_taps
    sizes = (given,) if isinstance(given, Size) else given
    places = ", ".join(_place(each) for each in taps)
    word = WORDS.get(name) or (f"stage {name[5:]}" if name.startswith("stage") else "")
    views = {each.view.kind for each in taps} - {"as it is", word}
    made = {
        "map": "tokens laid out as a map",
        "map of channels last": "channels put first",
        "mean of map": "the mean of a map",
    }
    laid = [made[each] for each in sorted(views) if each in made]
    return name, places, ", ".join(map(_shape, sizes)), "; ".join(filter(None, (word, *laid)))


def _place(tap: Tap) -> str:
    path = tap.path or "(the network)"
    return f"{path} (input)" if tap.at == "input" else path


def _says(tapped: Tapped) -> str:
    return "an embedding" if tapped.taps.get("embedding") == Tap("") else "what it returns"


def _again(runs: int) -> str:
    return f" (runs {runs} times)" if runs > 1 else ""


def _shape(size: Size) -> str:
    return "x".join(map(str, size[1:])) or "one number"


def _numbers(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{each:.4g}" for each in numbers)
