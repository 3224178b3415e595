"""The nouns of the library: what flows between its stages."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Size, Tensor

from relatum.faults import Fault as Fault
from relatum.faults import first_line as first_line

Images = Float[Tensor, "batch channel height width"]
Logits = Float[Tensor, "batch _classes"]
Embedding = Float[Tensor, "batch _dim"]
"""The two networks may differ in width, so the axis binds nothing (``_``)."""
FeatureMap = Float[Tensor, "batch *_shape"]
"""Whatever a network holds of each sample: maps, tokens or a vector."""
Labels = Int[Tensor, " batch"]
Scalar = Float[Tensor, ""]
Value = Tensor | tuple[Tensor, ...]
"""What a tap gives: one tensor, or one for each of several layers, shallow to deep."""
Shapes = Mapping[str, Size | tuple[Size, ...]]
"""What a network's taps give, by name: what a projector is built from."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples of a set.

    Attributes:
        images: float in [0, 1], at the largest size that a network asks for.
        labels: a class for each, or ``None`` where the set has none.
        indices: where each sample sits in its set: what a memory bank is keyed by.
        view: which of a sample's augmented views these are: what a cache is keyed by.
        shares: how many samples of this step every process of the training holds, in the order
            of ranks, where that is known; asked of the others where it is not.
    """

    images: Images
    labels: Labels | None
    indices: Labels
    view: int = 0
    shares: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def whole(self) -> int:
        """Samples of this step, those of all processes together."""
        return len(self) if self.shares is None else sum(self.shares)

    def part(self, rows: slice) -> "Batch":
        """Some of these samples, by themselves."""
        labels = None if self.labels is None else self.labels[rows]
        return Batch(self.images[rows], labels, self.indices[rows], self.view)


@dataclass(frozen=True, slots=True)
class Captured:
    """What one network said about one batch: its output, and its taps by name."""

    output: Tensor
    taps: Mapping[str, Value] = field(default_factory=dict)

    def read(self, on: str | tuple[str, ...]) -> Value:
        """One tap by its name (``"output"`` is the network's own), or several in order."""
        if isinstance(on, str):
            return self.output if on == "output" else self.taps[on]
        values: list[Tensor] = []
        for name in on:
            value = self.read(name)
            values.extend(value if isinstance(value, tuple) else (value,))
        return tuple(values)


@dataclass(frozen=True, slots=True)
class Input:
    """How one network wants its images: every network normalises and resizes for itself.

    Attributes:
        size: height and width, or ``None`` for images as they come.
        mean: one number a channel (or one for all), subtracted from images in [0, 1].
        std: what the difference is then divided by.
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
