"""Networks of other libraries, which are imported only when one is asked for."""

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from relatum.models.hub import told_once
from relatum.models.huggingface import published_huggingface, size_of_huggingface
from relatum.models.kinds import kinds
from relatum.types import Fault, Input, first_line

LIBRARIES = ("timm", "torchvision", "hf")
"""Whose networks are named ``LIBRARY/NAME``."""
PRETRAINED = ":pretrained"
_UNREACHED = {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "URLError", "TransportError"}
"""What the hub's and torch's own downloads raise without a connection, by their names."""
NAMED = "timm/…, torchvision/… and hf/…"


def from_timm(
    name: str, *, channels: int, size: int, classes: int, pretrained: bool = False
) -> nn.Module:
    """One of timm's networks, for this many channels and classes (none: for an embedding).

    Networks that are built for one size (ViT, Swin) are built for this one; timm resamples
    their position embeddings when it loads weights. Behind ``hf-hub:`` is one of the hub, behind
    ``local-dir:`` a folder, as timm saves them.

    Raises:
        Fault: timm is not installed, lacks the name, or cannot build the network for the size.
    """
    timm, found = _timm(name), _said_by_timm(name)
    if pretrained and not {".", ":"} & set(name) and not timm.is_model_pretrained(name):
        raise Fault(f"timm has no published weights for {name!r}; drop ':pretrained'")
    sized: dict[str, Any] = {}
    if found is not None and found.fixed and found.size != size:
        sized["img_size"] = size
    build: Any = timm.create_model
    try:
        with told_once():
            network: nn.Module = build(
                name, pretrained=pretrained, num_classes=classes, in_chans=channels, **sized
            )
    except Exception as error:
        if ":" in name or _unreached(error):
            raise _unfetched(f"timm/{name}", error) from error
        if found is not None and isinstance(error, TypeError) and "img_size" in str(error):
            raise Fault(
                f"timm/{name} cannot be built for {size} pixels, only for {found.size}"
            ) from error
        raise Fault(
            f"timm/{name} cannot be built for {size} pixels: {first_line(error)}"
        ) from error
    return network


def _timm(name: str) -> Any:
    try:
        import timm
    except ImportError as error:
        raise Fault(f"timm/{name} needs timm: pip install relatum[timm]") from error
    return timm


def _torchvision(name: str | None = None) -> Any:
    """Its models, of which it must have one of this name."""
    try:
        from torchvision import models
    except ImportError as error:
        raise Fault(
            f"torchvision/{name or '…'} needs torchvision: pip install torchvision"
        ) from error
    known = models.list_models(module=models)
    if name is not None and name not in known:
        raise Fault(_unknown("torchvision", name, known))
    return models


class _TimmSays(NamedTuple):
    """What timm knows of a network: of its weights, and whether it is built for one size."""

    classes: int
    input: Input
    size: int
    fixed: bool


def _said_by_timm(name: str) -> _TimmSays | None:
    """What timm knows of a network; ``None`` where it has the code alone.

    Raises:
        Fault: timm lacks the name; or it is of a hub or a folder, and cannot be had.
    """
    timm = _timm(name)
    if ":" not in name:  # with a colon it is elsewhere, and timm looks it up by itself
        known = timm.list_pretrained() if "." in name else timm.list_models()
        if name not in known:
            raise Fault(_unknown("timm", name, known))
        found = timm.get_pretrained_cfg(name)
        told = None if found is None else found.to_dict()
    else:  # only the network itself says what its config.json does, whatever timm's version
        try:
            told = _empty(timm, name).pretrained_cfg
        except Exception as error:
            raise _unfetched(f"timm/{name}", error) from error
    if told is None:
        return None
    size = tuple(told["input_size"][1:])
    input = Input(size, tuple(told["mean"]), tuple(told["std"]))
    return _TimmSays(told["num_classes"], input, size[0], bool(told.get("fixed_input_size")))


def _empty(timm: Any, name: str) -> Any:
    """A network without weights, which takes no time."""
    try:
        with torch.device("meta"):
            return timm.create_model(name)
    except RuntimeError:  # some, and all of older timm, read numbers while they are built
        return timm.create_model(name)


def _unfetched(name: str, error: Exception) -> Fault:
    """What to say where a network, or its weights, could not be had from a hub."""
    if not _unreached(error):
        return Fault(f"{name} cannot be had: {first_line(error)}")
    return Fault(
        f"the weights of {name} could not be fetched (no connection?); name a file: MODEL@FILE"
    )


def _unreached(error: BaseException | None) -> bool:
    """Whether an error, or one that it came of, is that of a connection."""
    while error is not None:
        names = {each.__name__ for each in type(error).__mro__}
        if isinstance(error, ConnectionError | TimeoutError) or names & _UNREACHED:
            return True
        error = error.__cause__ or error.__context__
    return False


def from_torchvision(
    name: str, *, channels: int, size: int, classes: int, pretrained: bool = False
) -> nn.Module:
    """One of torchvision's classifiers, for this many classes and 3 channels.

    Published weights are its ``DEFAULT`` ones; where they have another number of classes, the
    layer that tells classes apart starts anew.

    Raises:
        Fault: torchvision is not installed, lacks the name, or cannot build the network so.
    """
    models = _torchvision(name)
    if channels != 3:
        raise Fault(
            f"torchvision/{name} takes images of 3 channels, these have {channels};"
            " timm/NAME takes any number"
        )
    how: dict[str, Any] = {"num_classes": classes}
    if name.startswith("vit_"):
        how["image_size"] = size
    if name.startswith("maxvit"):
        how["input_size"] = (size, size)
    if name in ("googlenet", "inception_v3"):  # or they return more than one tensor in training
        how |= {"aux_logits": False, "init_weights": True}
    try:
        network: nn.Module = models.get_model(name, weights=None, **how)
    except (ValueError, AssertionError, RuntimeError) as error:
        raise Fault(
            f"torchvision/{name} cannot be built for {size} pixels: {first_line(error)}"
        ) from error
    if pretrained:
        weights = models.get_model_weights(name)["DEFAULT"]
        try:
            state = weights.get_state_dict(check_hash=True, weights_only=True)
        except OSError as error:  # URLError is one
            raise _unfetched(f"torchvision/{name}", error) from error
        _load(f"torchvision/{name}", network, state, classes)
    return network


def published(name: str) -> tuple[int, Input]:
    """How many classes a network's published weights tell apart, and how they want images.

    No classes at all are those of a network that was published for its embedding.

    Args:
        name: ``timm/NAME``, ``torchvision/NAME`` or ``hf/NAME``.

    Raises:
        Fault: there is no such network, or it has no published weights.
    """
    library, _, model = name.partition("/")
    if library == "timm":
        found = _said_by_timm(model)
        if found is None:
            raise Fault(f"timm has no published weights for {model!r}")
        return found.classes, found.input
    if library == "torchvision":
        weights = _torchvision(model).get_model_weights(model)["DEFAULT"]
        wants = weights.transforms()
        side = wants.crop_size[0]
        input = Input((side, side), tuple(wants.mean), tuple(wants.std))
        return len(weights.meta["categories"]), input
    if library == "hf":
        return published_huggingface(model)
    raise Fault(f"{name!r} has no published weights here; only {NAMED} have")


def built_for(name: str) -> int | None:
    """For how many pixels a side a network is made, if for one size; ``None`` if for any.

    Args:
        name: any network's. Only those of other libraries say so.

    Raises:
        Fault: there is no such network, or its library is not installed.
    """
    library, _, model = name.removesuffix(PRETRAINED).partition("/")
    if library == "hf":
        return size_of_huggingface(model)
    if library == "torchvision":
        return 224 if model.startswith(("vit_", "maxvit")) else None
    found = _said_by_timm(model) if library == "timm" else None
    return found.size if found is not None and found.fixed else None


def listed(text: str) -> list[str]:
    """The names of another library's networks that begin with a text, or are like a pattern.

    Args:
        text: ``timm/resnet``, ``torchvision/*_small``, ``hf/``.

    Raises:
        Fault: the library is none of these or is not installed, or no name is like it.
    """
    library, _, model = text.partition("/")
    known: Sequence[str]
    if library == "timm":
        known = _timm("…").list_models()
    elif library == "torchvision":
        models = _torchvision()
        known = models.list_models(module=models)
    elif library == "hf":
        known = kinds()
    else:
        raise Fault(f"no library is called {library!r}; there are {', '.join(LIBRARIES)}")
    pattern = model.lower() if "*" in model else f"{model.lower()}*"
    found = [f"{library}/{each}" for each in known if fnmatchcase(each.lower(), pattern)]
    if not found:
        raise Fault(_unknown(library, model, known))
    return found


def is_foreign(name: str) -> bool:
    """Whether a name is one of another library's network."""
    return name.partition("/")[0] in LIBRARIES and "/" in name


def _load(name: str, network: nn.Module, published: dict[str, Tensor], classes: int) -> None:
    """Load all but the classifiers, whose first axis alone differs, being the classes."""
    own = network.state_dict()
    fitting = {}
    for key, value in published.items():
        if key not in own or own[key].shape == value.shape:
            fitting[key] = value
        elif own[key].shape != (classes, *value.shape[1:]):
            raise Fault(
                f"{name}: the published {key} is {tuple(value.shape)}, here it is"
                f" {tuple(own[key].shape)}; ask for the size that it was trained at"
            )
    network.load_state_dict(fitting, strict=False)


def _unknown(library: str, name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name.lower(), known, n=3, cutoff=0.4)
    hint = f"the nearest are {', '.join(near)}; " if near else ""
    return f"{library} has no model {name!r}; {hint}relatum list models {library}/ lists all"
