"""What is known of a method besides what it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from relatum.methods.options import Option, options_of
from relatum.methods.setting import Setting
from relatum.methods.stage import Stage


@dataclass(frozen=True)
class Method:
    """A method by its name: how it is built, and where it comes from.

    Attributes:
        build: from a setting to its stages.
        loss: what it adds to the student's own task, built by ``Setting.build``.
        family: what it compares: ``"logits"``, ``"embedding"`` or ``"maps"``; ``"task"`` where
            it compares nothing, so that it joins with no other method.
        year: of its first publication.
        paper: authors, venue, arXiv's number.
        adopt: for a method that puts another network in the student's place, as SimKD does:
            from a setting to that network, whose name is then ``METHOD(STUDENT,TEACHER)``.
        elsewhere: arguments of the loss that are no options here, for they change nothing or make
            another method of it; each with the name of that method.
    """

    build: Callable[[Setting], tuple[Stage, ...]]
    loss: type[nn.Module]
    family: str
    year: int
    paper: str
    adopt: Callable[[Setting], nn.Module] | None = None
    elsewhere: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __call__(self, setting: Setting) -> tuple[Stage, ...]:
        """Its stages for a setting."""
        return self.build(setting)

    @property
    def options(self) -> Mapping[str, Option]:
        """What its loss may be built with otherwise: ``kd(temperature=2)``."""
        if self.family == "task":
            return {}
        there = options_of(self.loss)
        return {name: option for name, option in there.items() if name not in self.elsewhere}

    @property
    def summary(self) -> str:
        """What it is, in a line."""
        return (self.build.__doc__ or "").strip().splitlines()[0]
