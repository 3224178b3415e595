"""Modules for the reference cases that a class of ``relatum.losses`` does not take as they are.

``build`` gives such a module, or ``None`` where the class itself will do. ``check.py``, which comes
with the reference numbers, asks it, and so does our own ``tests/losses/test_golden.py``.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from relatum.losses import OFD, SRRL

Stages = tuple[Tensor, ...]


def build(loss: str, kwargs: Mapping[str, Any], dims: Mapping[str, Any]) -> nn.Module | None:
    """The module of a case: ``kwargs`` are the constructor's, ``dims`` follow from its arrays."""
    if loss == "OFD":
        return OFDOfMargins()
    if loss == "SRRL":
        return SRRLOfState(**kwargs)
    return None


class OFDOfMargins(nn.Module):
    """Takes the margins with every call, where the class takes them once."""

    def forward(self, student: Stages, teacher: Stages, margins: Stages) -> Tensor:
        value: Tensor = OFD(margins)(student, teacher)
        return value


class SRRLOfState(nn.Module):
    """Takes the classifier, whose size the cases do not say beforehand, as state."""

    feature: Tensor
    logit: Tensor
    NAMES = ("teacher_classifier.weight", "teacher_classifier.bias")

    def __init__(self, **weights: float) -> None:
        super().__init__()
        self.weights = weights
        self.given: dict[str, Tensor] = {}
        for part in ("feature", "logit"):
            self.register_buffer(part, torch.zeros(()))

    def named_parameters(self, *args: Any, **named: Any) -> Iterator[tuple[str, Any]]:
        for name in self.NAMES:
            yield name, _Slot(self.given, name)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        self.given.update(state_dict)
        return [], []

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        self.feature = self._loss(1.0, 0.0)(student, teacher).detach()
        self.logit = self._loss(0.0, 1.0)(student, teacher).detach()
        value: Tensor = self._loss(**self.weights)(student, teacher)
        return value

    def _loss(self, feature_weight: float, logit_weight: float) -> SRRL:
        leaving, entering = self.given[self.NAMES[0]].shape
        classifier = nn.Linear(entering, leaving, dtype=torch.float64)
        loss = SRRL(classifier, None, feature_weight, logit_weight).double()
        loss.load_state_dict(self.given)
        return loss


class _Slot:
    """A parameter of no size yet, which takes that of what is copied into it."""

    grad = None

    def __init__(self, given: dict[str, Tensor], name: str) -> None:
        self._given, self._name = given, name

    @property
    def shape(self) -> "_AnyShape":
        return _AnyShape()

    def copy_(self, value: Tensor) -> None:
        self._given[self._name] = value.clone()


class _AnyShape:
    """Differs from no shape."""

    def __ne__(self, other: object) -> bool:
        return False
