"""What a method asks for, read off what it builds for a small pair."""

from dataclasses import dataclass

import torch

from relatum.methods import METHODS, TASK
from relatum.methods.example import example
from relatum.methods.setting import Setting
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


_MEMORIES = ("queue", "student_memory")


class _Asked:
    """Whether a method asked for the teacher's classifier."""

    classifier = False


@dataclass(frozen=True)
class _Watched(Setting):
    asked: _Asked | None = None

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
