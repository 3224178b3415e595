"""A loss around another one: it changes the logits, the other one compares them."""

import inspect
from typing import Any

from torch import Tensor, nn

from relatum.types import Fault, Labels, Logits


class Wrapper(nn.Module):
    """Holds a loss on logits, with labels or without, and couples samples if that one does.

    Args:
        loss: takes ``student`` and ``teacher``, and perhaps ``labels``.

    Raises:
        Fault: it is no module, or needs something else.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        if not isinstance(loss, nn.Module):
            raise Fault(f"{self._name}: wraps a loss, a torch.nn.Module, got {loss!r}")
        takes = inspect.signature(loss.forward).parameters
        needs = {name for name, each in takes.items() if each.default is each.empty}
        if not {"student", "teacher"} <= set(takes) or needs - {"student", "teacher", "labels"}:
            raise Fault(
                f"{self._name}: wraps a loss on the logits of both networks, with labels or"
                f" without; {type(loss).__name__} takes {', '.join(takes)}"
            )
        self.loss = loss
        self.relational = bool(getattr(loss, "relational", False))
        self._takes_labels, self._needs_labels = "labels" in takes, "labels" in needs

    @property
    def _name(self) -> str:
        return type(self).__name__

    def at(self, progress: float) -> None:
        """Tell the loss within how far the training is, from 0 to 1, if it wants to know."""
        within: Any = self.loss
        if hasattr(within, "at"):
            within.at(progress)

    def given(self, student: Logits, teacher: Logits, labels: Labels | None) -> dict[str, Tensor]:
        """What the loss within is called with.

        Raises:
            Fault: it needs labels, and there are none.
        """
        if self._needs_labels and labels is None:
            raise Fault(f"{self._name}: {type(self.loss).__name__} within it needs labels")
        found = {"student": student, "teacher": teacher}
        return found | ({"labels": labels} if self._takes_labels and labels is not None else {})
