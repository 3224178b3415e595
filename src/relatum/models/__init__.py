"""Names to networks: the benchmark's own, those of other libraries and anybody's function."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from relatum.imports import from_path
from relatum.models.digits import digits_cnn_large, digits_cnn_small
from relatum.models.foreign import NAMED, from_timm, from_torchvision, is_foreign
from relatum.models.huggingface import from_huggingface
from relatum.models.mnist import (
    mnist_ae_32,
    mnist_ae_64,
    mnist_linear_32,
    mnist_mlp_32,
    mnist_mlp_1200,
)
from relatum.models.mobilenetv2 import mobilenetv2
from relatum.models.resnet import (
    resnet8,
    resnet8x4,
    resnet14,
    resnet20,
    resnet32,
    resnet32x4,
    resnet44,
    resnet56,
    resnet110,
)
from relatum.models.resnet50 import resnet50_cifar
from relatum.models.shufflenetv1 import shufflenetv1
from relatum.models.shufflenetv2 import shufflenetv2
from relatum.models.simkd import joined
from relatum.models.vgg import vgg8, vgg11, vgg13, vgg16, vgg19
from relatum.models.wrn import wrn_16_1, wrn_16_2, wrn_40_1, wrn_40_2
from relatum.spelling import unknown_model
from relatum.types import Fault

MODELS: dict[str, Callable[..., nn.Module]] = {
    "mnist-mlp-1200": mnist_mlp_1200,
    "mnist-mlp-32": mnist_mlp_32,
    "mnist-linear-32": mnist_linear_32,
    "mnist-ae-64": mnist_ae_64,
    "mnist-ae-32": mnist_ae_32,
    "digits-cnn-large": digits_cnn_large,
    "digits-cnn-small": digits_cnn_small,
    "resnet8": resnet8,
    "resnet14": resnet14,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "resnet44": resnet44,
    "resnet56": resnet56,
    "resnet110": resnet110,
    "resnet8x4": resnet8x4,
    "resnet32x4": resnet32x4,
    "resnet50-cifar": resnet50_cifar,
    "wrn-16-1": wrn_16_1,
    "wrn-16-2": wrn_16_2,
    "wrn-40-1": wrn_40_1,
    "wrn-40-2": wrn_40_2,
    "vgg8": vgg8,
    "vgg11": vgg11,
    "vgg13": vgg13,
    "vgg16": vgg16,
    "vgg19": vgg19,
    "mobilenetv2": mobilenetv2,
    "shufflenetv1": shufflenetv1,
    "shufflenetv2": shufflenetv2,
}
"""The benchmark's own networks. A maker takes those of channels, size, classes that it needs."""

_PRETRAINED = ":pretrained"
_SIMKD = "simkd("


def create(name: str, *, channels: int, size: int, classes: int) -> nn.Module:
    """A new network by its name, on the CPU, in training mode.

    Args:
        name: one of ``MODELS``; ``timm/NAME``, ``torchvision/NAME`` or ``hf/NAME`` (transformers:
            a kind of model, a folder, or ``OWNER/MODEL``), which end in ``:pretrained`` to load
            published weights (a classifier for other than their number of classes starts anew);
            or ``module:function`` or ``file.py:function``, called with
            those of the next three arguments that its signature takes; or
            ``simkd(STUDENT,TEACHER)``, the first with the second's classifier, as SimKD trains it.
        channels: of the images.
        size: their height and width, in pixels.
        classes: how many to tell apart; auto-encoders do not ask. 0 for a network of timm or
            transformers that ends in its embedding.

    Raises:
        Fault: nothing has this name, its library is not installed, or it cannot be built so.

    Example:
        >>> network = create("resnet20", channels=3, size=32, classes=100)
        >>> sum(parameter.numel() for parameter in network.parameters())
        278324
    """
    asked = {"channels": channels, "size": size, "classes": classes}
    for number, value in asked.items():
        if value < (0 if number == "classes" and can_embed(name) else 1):
            raise Fault(f"{name}: {number} must be at least 1, got {value}")
    if name in MODELS:
        return _call(name, MODELS[name], asked)
    if name.startswith(_SIMKD):
        student, teacher = (create(each, **asked) for each in _joined(name))
        return joined(student, teacher, torch.zeros(2, channels, size, size))
    bare, pretrained = name.removesuffix(_PRETRAINED), name.endswith(_PRETRAINED)
    library, slash, model = bare.partition("/")
    if slash and library == "timm":
        return from_timm(model, **asked, pretrained=pretrained)
    if slash and library == "torchvision":
        return from_torchvision(model, **asked, pretrained=pretrained)
    if slash and library == "hf":
        return from_huggingface(model, **asked, pretrained=pretrained)
    if pretrained:
        raise Fault(f"{bare!r} has no published weights here; only {NAMED} have")
    if ":" in name:
        return _call(name, from_path(name), asked)
    raise Fault(unknown_model(name, MODELS))


def can_embed(name: str) -> bool:
    """Whether ``create`` can build a network that ends in its embedding, by 0 classes.

    Example:
        >>> can_embed("timm/resnet18"), can_embed("resnet20")
        (True, False)
    """
    return name.startswith(("timm/", "hf/"))


def is_own(name: str) -> bool:
    """Whether a name is that of somebody's own code, which ``create`` imports and so runs.

    Example:
        >>> is_own("net.py:make"), is_own("timm/resnet18:pretrained")
        (True, False)
    """
    if name.startswith(_SIMKD):
        return any(map(is_own, _joined(name)))
    return ":" in name.removesuffix(_PRETRAINED) and not is_foreign(name)


def _joined(name: str) -> tuple[str, str]:
    """The student and the teacher in ``simkd(STUDENT,TEACHER)``, which begins without weights."""
    student, comma, teacher = name.removeprefix(_SIMKD).removesuffix(")").partition(",")
    if not (student and comma and teacher and name.endswith(")")):
        raise Fault(f"{name!r} names no two networks; write simkd(STUDENT,TEACHER)")
    return student.removesuffix(_PRETRAINED), teacher.removesuffix(_PRETRAINED)


def _call(name: str, maker: Any, asked: dict[str, int]) -> nn.Module:
    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError) as error:
        raise Fault(f"{name}: wanted a function that makes a network, got {maker!r}") from error
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    names = {each.name for each in parameters}
    for each in parameters:
        bound = each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
        if bound and each.default is each.empty and each.name not in asked:
            raise Fault(
                f"{name} asks for {each.name!r}; it is given channels, size and classes:"
                f" give {each.name!r} a default"
            )
    network = maker(**{key: value for key, value in asked.items() if takes_any or key in names})
    if not isinstance(network, nn.Module):
        raise Fault(f"{name} must return an nn.Module, it returned a {type(network).__name__}")
    return network
