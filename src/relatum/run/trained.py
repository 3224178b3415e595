"""A trained network by the text that names it: its input, its classes and its run come along."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from relatum import models
from relatum.models.foreign import published
from relatum.record import NAME, WEIGHTS
from relatum.spelling import unknown_teacher
from relatum.types import Fault, Input
from relatum.weights import INDEX, about_weights, load_state, weights_in

if TYPE_CHECKING:
    from relatum.run.sets import Sets

SAVED = tuple(
    f"{name}{index}" for name in ("model.safetensors", "pytorch_model.bin") for index in ("", INDEX)
)
"""What other libraries call the weights in their folders: whole, or the list of their parts."""
PICKLED = {".pt", ".pth", ".bin", ".ckpt", ".tar"}
"""How files end that cannot say which network they are of."""
PRETRAINED = ":pretrained"


@dataclass(frozen=True)
class Trained:
    """A network with its weights, and what is known of it.

    Attributes:
        network: loaded.
        name: its architecture.
        input: the size and normalisation that it was trained with.
        run: the folder of the run that trained it, where it was one.
        classes: what its logits mean, where that is known.
    """

    network: nn.Module
    name: str
    input: Input
    run: Path | None = None
    classes: tuple[str, ...] | None = None


def trained(text: str, sets: "Sets", size: int | None = None) -> Trained:
    """Find and load what a text names.

    Args:
        text: a run's folder; a file of weights that a run saved; ``MODEL@FOLDER`` or
            ``MODEL@FILE``, for a network that the file does not name, or that is somebody's
            own code; or a model with published weights (``timm/NAME:pretrained``,
            ``torchvision/…``, ``hf/…``). A FILE may
            be another code base's (``relatum.foreign_weights``): it says neither what its
            classes are called nor how its images were normalised, so its classifier alone tells
            how many classes it has, and it sees images with the set's mean and deviation.
        sets: the images that it will see.
        size: at how many pixels, where that is not for the file or the published weights to say.

    Raises:
        Fault: there is no such thing, or it is of another network.
    """
    if found := on_disk(text):
        return _load(*found, sets, size)
    if text.endswith(PRETRAINED):
        classes, input = published(text.removesuffix(PRETRAINED))
        input = input if size is None else replace(input, size=(size, size))
        side = sets.shape[1] if input.size is None else input.size[0]
        network = models.create(text, channels=sets.shape[0], size=side, classes=classes)
        return Trained(network, text, for_channels(input, sets.shape[0]))
    raise Fault(unknown_teacher(text))


def on_disk(text: str) -> tuple[str, Path] | None:
    """The network and the file of weights that a text names; ``None`` where it names no file.

    Raises:
        Fault: what it names is not there, or does not say which network it is of.
    """
    path = Path(text)
    if not path.exists():  # a run's own folder may have an @, as of sp@stage2
        name, at, place = text.partition("@")
        return (name, _weights(Path(place))) if at else None
    if library := _in_a_library(path):
        raise Fault(f"{path} is a folder of another library's; name it {library}")
    weights = _weights(path)
    about = {} if weights.suffix in PICKLED else about_weights(weights)
    name = about.get("model", "")
    if not name:
        raise Fault(f"{weights} does not say which network it is of; name it: MODEL@{path}")
    if ":" in name:
        raise Fault(
            f"{weights} names {name}, and a file may not say which code is run; say it yourself,"
            f" if you trust it: {name}@{path}"
        )
    return name, weights


def weights_of(text: str) -> Path | None:
    """The file that holds the weights of what a text names, if there is one."""
    path = Path(text)
    if not path.exists():
        path = Path(text.partition("@")[2] or text)
    path = _file_in(path)
    return path if path.is_file() else None


def _weights(path: Path) -> Path:
    if not path.exists():
        raise Fault(f"there is no file {path}")
    found = _file_in(path)
    if not found.exists():
        raise Fault(f"{path} holds no trained network ({WEIGHTS} is missing): let it finish")
    return found


def _file_in(path: Path) -> Path:
    """The file of weights that a path means: itself, or one in a folder of ours or of others."""
    if not path.is_dir():
        return path
    files = (path / name for name in (WEIGHTS, *SAVED))
    return next((each for each in files if each.exists()), path / WEIGHTS)


def _in_a_library(path: Path) -> str:
    """How a folder that another library saved is named; empty where it is none."""
    try:
        told = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    if not isinstance(told, dict) or (path / WEIGHTS).exists():
        return ""
    return f"{'timm/local-dir:' if 'pretrained_cfg' in told else 'hf/'}{path}{PRETRAINED}"


def _load(name: str, path: Path, sets: "Sets", size: int | None) -> Trained:
    made = made_for(sets, max(len(sets.classes), 1), size)
    built = built_from(name, path, made, sets.input)
    input = built.input if size is None else replace(built.input, size=(size, size))
    run = path.parent if (path.parent / NAME).exists() else None
    return Trained(built.network, name, input, run, built.class_names)


@dataclass(frozen=True)
class Built:
    """A network that was built, with what it was built for.

    Attributes:
        network: itself.
        name: its architecture.
        input: how it wants its images.
        made: the channels, the size and the classes that it was built for.
        told: whether its file of weights said so.
        class_names: what its logits mean, where that is known.
    """

    network: nn.Module
    name: str
    input: Input
    made: dict[str, int]
    told: bool = False
    class_names: tuple[str, ...] | None = None


def built_from(name: str, path: Path, made: dict[str, int], input: Input) -> Built:
    """Build a network and load a file of weights into it.

    Args:
        name: its architecture.
        path: of the file.
        made: channels, size and classes to build it for, where the file says nothing of that;
            the weights alone then tell how many classes there are.
        input: how it wants its images, likewise.

    Raises:
        Fault: the file is damaged, or of another network.
    """
    about = _about(path)
    told = "classes" in about
    if told:
        made = {each: _whole(about, each, path) for each in ("channels", "size", "classes")}
    network = models.create(name, **made)
    state = weights_in(path, network)
    if not told:
        classes = _classes_in(state, network, made["classes"])
        if classes != made["classes"]:
            made = made | {"classes": classes}
            network = models.create(name, **made)
        network = _without_classifier(name, state, network, made)
    load_state(network, state, path)
    names = _class_names(about.get("class_names", ""))
    return Built(network, name, input_from(about, path) or input, made, told, names)


def _class_names(text: str) -> tuple[str, ...] | None:
    """The classes that a file of weights names: a JSON list, or in older files a line each."""
    if not text:
        return None
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    return tuple(map(str, names if isinstance(names, list) else text.split("\n")))


def _about(path: Path) -> dict[str, str]:
    """What a file says of itself; nothing, where it is of a kind that cannot."""
    return about_weights(path) if path.suffix == ".safetensors" else {}


def _without_classifier(
    name: str, state: Mapping[str, Tensor], network: nn.Module, sizes: dict[str, int]
) -> nn.Module:
    """The same network ending in its embedding, where that is all that the weights are of."""
    if not models.can_embed(name) or not set(network.state_dict()) - set(state):
        return network
    bare = models.create(name, **sizes | {"classes": 0})
    return bare if set(bare.state_dict()) == set(state) else network


def _classes_in(state: Mapping[str, Tensor], network: nn.Module, classes: int) -> int:
    """How many classes weights tell apart: all that differs is their classifier's first axis."""
    pairs = [
        (own.shape, state[name].shape)
        for name, own in network.state_dict().items()
        if name in state
    ]
    lengths = {
        there[0]
        for here, there in pairs
        if there and here != there and here == (classes, *there[1:])
    }
    return lengths.pop() if len(lengths) == 1 else classes


def input_from(about: Mapping[str, str], path: Path) -> Input | None:
    """The normalisation that a file of weights names, if it names one; and the size.

    Files from before sizes were kept say none: their networks see images as they come.
    """
    if "mean" not in about or "std" not in about:
        return None
    try:
        mean, std = (tuple(map(float, about[each].split())) for each in ("mean", "std"))
    except ValueError:
        raise Fault(f"{path}: its mean or std is no list of numbers") from None
    side = _whole(about, "input_size", path) if "input_size" in about else None
    return Input(None if side is None else (side, side), mean, std)


def for_channels(input: Input, channels: int) -> Input:
    """A normalisation for images of other channels: the mean of its numbers for all of them."""
    if len(input.mean) in (1, channels):
        return input
    mean, std = (sum(each) / len(each) for each in (input.mean, input.std))
    return replace(input, mean=(mean,), std=(std,))


def made_for(sets: "Sets", classes: int, size: int | None = None) -> dict[str, int]:
    """What a network is built for, to see these images, at their size or at its own."""
    channels, height, width = sets.shape
    if height != width:
        raise Fault(f"{sets.name}: images must be square here, got {height} by {width}")
    return {"channels": channels, "size": size or height, "classes": classes}


def _whole(about: Mapping[str, str], name: str, path: Path) -> int:
    try:
        return int(about[name])
    except (KeyError, ValueError):
        raise Fault(f"{path}: its {name} is no whole number") from None
