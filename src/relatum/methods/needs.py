"""What a method asks for, read off what it builds for a small pair."""

from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch

from relatum.methods import METHODS, TASK
from relatum.methods.example import CLASSES, SAMPLES, example
from relatum.methods.setting import Loss, Setting
from relatum.methods.stage import Stage


@dataclass(frozen=True)
class Needs:
    """What a method asks for beyond two networks and images.

    Attributes:
        reads: the taps that its losses read, ``"logits"`` for the output.
        labels: whether a loss of its own, cross-entropy apart, needs labels.
        indices: whether it needs to know which sample is which.
        heads: whether its losses have parameters that learn.
        memory: whether its losses remember earlier batches.
        classifier: whether it builds on the teacher's classifier.
        stages: how many trainings it is, one after the other.
        relational: whether it compares samples with each other, so that the batch of all
            processes counts.
    """

    reads: tuple[str, ...]
    labels: bool
    indices: bool
    heads: bool
    memory: bool
    classifier: bool
    stages: int
    relational: bool

    @property
    def words(self) -> str:
        """What must be there, in a few words."""
        have = {
            "labels": self.labels,
            "indices": self.indices,
            "heads": self.heads,
            "memory": self.memory,
            "teacher's classifier": self.classifier,
            f"{self.stages} stages": self.stages > 1,
        }
        return ", ".join(word for word, wanted in have.items() if wanted)


def needs(name: str) -> Needs:
    """What a method asks for, by its name."""
    method, asked = METHODS[name], _Asked()
    setting = _Watched(**vars(example()), asked=asked)
    if method.adopt is not None:
        method.adopt(setting)
    stages = method(setting)
    own = [
        (stage, key, term)
        for stage in stages
        for key, term in stage.objective.terms.items()
        if key != TASK
    ]
    losses = [term.loss for _, _, term in own]
    return Needs(
        reads=tuple(dict.fromkeys(tap for stage in stages for tap in _taps(stage))),
        labels=any(stage.objective.needs("labels", key) for stage, key, _ in own),
        indices=any(stage.objective.needs("indices", key) for stage, key, _ in own),
        heads=any(each.requires_grad for loss in losses for each in loss.parameters()),
        memory=any(hasattr(loss, memory) for loss in losses for memory in _MEMORIES),
        classifier=asked.classifier,
        stages=len(stages),
        relational=any(bool(getattr(loss, "relational", False)) for loss in losses),
    )


def defaults(name: str) -> dict[str, object]:
    """What a method's loss is built with where no option says otherwise, by the options' names.

    What hangs on the set is ``"fitted to the set"``; what is ``None`` is said by nothing.
    """
    method = METHODS[name]
    there = signature(method.loss).parameters
    small, large = (_usual(name, samples) for samples in (SAMPLES, 2 * SAMPLES))
    found: dict[str, object] = {}
    for option in method.options:
        usual = small.get(option, there[option].default)
        same = usual == large.get(option, usual)
        found[option] = usual if same else "fitted to the set"
    return found


def _usual(name: str, samples: int) -> dict[str, object]:
    """What a method gives its loss by name, in a set of so many images."""
    labels = torch.arange(samples) % CLASSES
    asked = _Asked()
    setting = replace(example(), samples=samples, labels=labels)
    METHODS[name](_Watched(**vars(setting), asked=asked))
    return asked.usual


_MEMORIES = ("queue", "student_memory")


class _Asked:
    """Whether a method asked for the teacher's classifier, and what it gave its loss by name."""

    def __init__(self) -> None:
        self.classifier = False
        self.usual: dict[str, object] = {}


@dataclass(frozen=True)
class _Watched(Setting):
    asked: _Asked | None = None

    def build(self, loss: type[Loss], *fitted: Any, **usual: Any) -> Loss:
        assert self.asked is not None
        self.asked.usual |= usual
        return super().build(loss, *fitted, **usual)

    def teacher_classifier(self) -> torch.nn.Linear:
        assert self.asked is not None
        self.asked.classifier = True
        return super().teacher_classifier()


def _taps(stage: Stage) -> list[str]:
    found: list[str] = []
    for key, term in stage.objective.terms.items():
        if key != TASK:
            for on in (term.on, term.teacher_on):
                found.extend([] if on is None else [on] if isinstance(on, str) else on)
    return ["logits" if each == "output" else each for each in found]
