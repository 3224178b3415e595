"""Layers that make a student's embedding and that nothing teaches: what is measured there is noise.

A loss on feature maps, alone, teaches the layers up to these maps; a network may have others
between them and its embedding.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import nn

from relatum.distiller import Distiller
from relatum.evaluate import reached
from relatum.recipes.recipe import Recipe
from relatum.taps import Tapped

SHOWN = 3
"""Layers that are named."""


@dataclass
class Lessons:
    """Which parameters learn in some stage, and which in none; a stage may call them otherwise."""

    _idle: dict[str, nn.Parameter] = field(default_factory=dict)
    _taught: set[nn.Parameter] = field(default_factory=set)

    def add(self, distiller: Distiller, resting: Iterable[str]) -> None:
        """A stage, before its student is cut into parts."""
        named = distiller.named_parameters()
        self._idle |= {name: named[name] for name in resting}
        self._taught |= set(distiller.parameters())

    @property
    def idle(self) -> tuple[str, ...]:
        """Those that no term of a stage so far reaches."""
        idle = (name for name, each in self._idle.items() if each not in self._taught)
        return tuple(sorted(idle))


def untaught_layers(
    student: Tapped, shape: tuple[int, int, int], idle: Iterable[str]
) -> tuple[str, ...]:
    """The layers that the embedding depends on, of those that have parameters without a lesson.

    Args:
        student: with its taps.
        shape: of an image.
        idle: parameters that no term reaches in any stage, by the names of the network.
    """
    names = list(idle)
    if not names or "embedding" not in student.taps:
        return ()
    before = reached(student, shape)
    layers = (name.rpartition(".")[0] or name for name in names if name in before)
    return tuple(dict.fromkeys(layers))


def in_words(layers: tuple[str, ...]) -> str:
    """What is wrong with the embedding."""
    shown = ", ".join(layers[:SHOWN]) + ", …" * (len(layers) > SHOWN)
    return (
        f"the embedding is made by layers that nothing teaches ({shown}): it is no student of its"
        " teacher"
    )


def way_out(recipe: Recipe) -> str:
    """What teaches the embedding too."""
    instead = ", or use sp@embedding" if recipe.method == "sp" else ""
    return f"add +rrkd{instead}"
