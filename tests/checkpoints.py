"""Files as other code bases save them."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn


def _trained(network: nn.Module) -> dict[str, Any]:
    """The state of an optimiser that has stepped, as checkpoints hold it."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    sum(parameter.sum() for parameter in network.parameters()).backward()  # type: ignore[union-attr]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer.step()
    network.load_state_dict(before)
    return optimizer.state_dict()


def repdistiller(network: nn.Module) -> dict[str, Any]:
    """``ckpt_epoch_240.pth`` of RepDistiller's train_teacher.py, and of distillers."""
    accuracy = torch.tensor([75.61])
    optimizer = _trained(network)
    return {
        "epoch": 240,
        "model": network.state_dict(),
        "accuracy": accuracy,
        "optimizer": optimizer,
    }


def repdistiller_best(network: nn.Module) -> dict[str, Any]:
    """``wrn_16_2_best.pth`` of its train_student.py."""
    return {"epoch": 231, "model": network.state_dict(), "best_acc": torch.tensor([75.7])}


def repdistiller_last(network: nn.Module) -> dict[str, Any]:
    """``wrn_16_2_last.pth``, which holds the parsed command line too."""
    return {"opt": Namespace(model_s="wrn_16_2", batch_size=64), "model": network.state_dict()}


def mdistiller_student(network: nn.Module) -> dict[str, Any]:
    """``student_best`` of mdistiller's trainer."""
    return {"model": network.state_dict()}


def mdistiller_vanilla(network: nn.Module) -> dict[str, Any]:
    """``epoch_240`` of a network that it trained alone."""
    return {
        "epoch": 240,
        "model": {f"module.student.{name}": v for name, v in network.state_dict().items()},
        "optimizer": _trained(network),
        "best_acc": torch.tensor([79.42]),
    }


def mdistiller_latest(network: nn.Module) -> dict[str, Any]:
    """``latest`` of a distillation: student, teacher and the loss's own modules."""
    model = {f"module.student.{name}": v for name, v in network.state_dict().items()}
    others = nn.ModuleDict({"teacher": nn.Linear(3, 2), "conv_reg": nn.BatchNorm2d(3)})
    model |= {f"module.{name}": value for name, value in others.state_dict().items()}
    return {"epoch": 3, "model": model, "optimizer": _trained(network), "best_acc": 1.0}


def compiled(network: nn.Module) -> dict[str, Any]:
    """A plain state dict of a network that was compiled, then made parallel."""
    return {f"module._orig_mod.{name}": value for name, value in network.state_dict().items()}


def under_state_dict(network: nn.Module) -> dict[str, Any]:
    """As many a training script saves it."""
    return {"state_dict": network.state_dict(), "arch": "resnet8"}


def _others(network: nn.Module) -> dict[str, torch.Tensor]:
    """Weights of another step of the training."""
    return {name: torch.zeros_like(value) for name, value in network.state_dict().items()}


def timm_train(network: nn.Module) -> dict[str, Any]:
    """``model_best.pth.tar`` of timm's train.py with ``--model-ema``."""
    return {
        "epoch": 3,
        "arch": "resnet18",
        "state_dict": _others(network),
        "optimizer": _trained(network),
        "version": 2,
        "args": Namespace(model="resnet18", lr=0.1),
        "metric": 76.5,
        "state_dict_ema": network.state_dict(),
    }


def torchvision_reference(network: nn.Module) -> dict[str, Any]:
    """``checkpoint.pth`` of torchvision's references with ``--model-ema``."""
    mean = {"n_averaged": torch.tensor(5)}
    mean |= {f"module.{name}": value for name, value in network.state_dict().items()}
    return {
        "model": _others(network),
        "optimizer": _trained(network),
        "epoch": 3,
        "args": Namespace(model="resnet18"),
        "model_ema": mean,
    }


def lightning(network: nn.Module) -> dict[str, Any]:
    """``epoch=3-step=40.ckpt`` of a module that calls its network ``model``, beside a loss."""
    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    return {"epoch": 3, "state_dict": state | {"loss.weight": torch.ones(3)}, "loops": {}}


def in_halves(network: nn.Module) -> dict[str, Any]:
    """Weights in bfloat16, as they are published to be small."""
    return {
        name: value.bfloat16() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }


FORMATS: tuple[Callable[[nn.Module], dict[str, Any]], ...] = (
    repdistiller,
    repdistiller_best,
    repdistiller_last,
    timm_train,
    torchvision_reference,
    lightning,
    mdistiller_student,
    mdistiller_vanilla,
    mdistiller_latest,
    compiled,
    under_state_dict,
    nn.Module.state_dict,
)
"""All that can be read."""


def save(content: Any, path: Path, legacy: bool = False) -> Path:
    """Save as torch does, or as it did in 2019, when the benchmark's teachers were trained."""
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path
