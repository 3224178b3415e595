"""What a method makes of a setting: one training after another, and what is minimised in each."""

from dataclasses import dataclass
from typing import Literal

from relatum.losses import CrossEntropy
from relatum.method_names import TASK
from relatum.methods.setting import Setting
from relatum.objective import Objective, Term
from relatum.types import Fault


@dataclass(frozen=True)
class Stage:
    """A part of a training: what is minimised, for how long, and what learns.

    Attributes:
        objective: the terms.
        share: of the recipe's epochs, at least one of them: 1/8 are 30 of the benchmark's 240.
        only: the student's submodules that learn and are in training mode, by their paths;
            the rest of it stays as it is, statistics of BatchNorm and dropout too. ``None``
            for all of it.
        drifting: let the rest be in training mode all the same, so that its statistics move.
        learning_rate: instead of the recipe's.
        schedule: ``"constant"`` instead of the recipe's.
    """

    objective: Objective
    share: float = 1.0
    only: tuple[str, ...] | None = None
    drifting: bool = False
    learning_rate: float | None = None
    schedule: Literal["constant"] | None = None

    def epochs(self, whole: int) -> int:
        """How many, where the recipe has so many."""
        return max(1, round(self.share * whole)) if whole else 0


def task(setting: Setting, weight: float = 1.0) -> dict[str, Term]:
    """Cross-entropy at a weight, or nothing where there are no labels or no logits."""
    return {TASK: Term(CrossEntropy(), weight=weight)} if setting.supervised else {}


def distil(setting: Setting, terms: dict[str, Term], task_weight: float = 1.0) -> tuple[Stage, ...]:
    """One stage: the terms, and cross-entropy where there are labels."""
    return (Stage(Objective(**task(setting, task_weight), **terms)),)


def initialised(
    setting: Setting, name: str, terms: dict[str, Term], share: float = 1 / 8
) -> tuple[Stage, ...]:
    """Two stages: the terms alone at a constant learning rate, then cross-entropy alone.

    Raises:
        Fault: there are no labels for the second.
    """
    if not setting.supervised:
        raise Fault(
            f"{name} only initialises a student, which then learns from labels: it needs them, and"
            " a student with logits; at, nst and sp need neither"
        )
    first = Stage(Objective(**terms), share=share, schedule="constant")
    return first, Stage(Objective(**task(setting)))
