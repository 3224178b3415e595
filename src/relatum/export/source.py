"""What is exported: a trained network with its taps, its input and what is known of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from relatum.data import Batches
from relatum.evaluate import reached
from relatum.recipes.recipe import Recipe
from relatum.record import NAME, Record
from relatum.run.networks import tap
from relatum.run.sets import sets_of
from relatum.run.trained import built_from, made_for, on_disk
from relatum.taps import Tap, Tapped, shapes
from relatum.types import Fault, Images, Input
from relatum.weights import about_weights

WHOLE = Tap("")
"""The embedding of a network that puts out nothing else."""
Says = Literal["logits", "reconstruction", "embedding"]
Taught = Literal[Says, "nothing"]
CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Source:
    """A network to export, at rest on the CPU.

    Attributes:
        tapped: the network with its taps and its normalisation.
        name: its architecture, as ``models.create`` knows it.
        shape: channels, height and width of the images that enter it, resized.
        classes: what its logits mean; empty where that is not known.
        weights: the file that they came from.
        about: what that file says of itself.
        made: the channels, size and classes that the network was built for.
        run: the folder of the run that trained it.
        record: of that run.
    """

    tapped: Tapped
    name: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...] = ()
    weights: Path | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, int] = field(default_factory=dict)
    run: Path | None = None
    record: Record | None = None

    def __post_init__(self) -> None:
        self.tapped.to(CPU).eval()

    @property
    def says(self) -> Says:
        """What kind of thing the network itself puts out."""
        put_out = shapes(self.tapped, torch.zeros(2, *self.shape))["output"]
        if tuple(put_out[1:]) == self.shape:
            return "reconstruction"
        return "embedding" if self.tapped.taps.get("embedding") == WHOLE else "logits"

    @property
    def untaught(self) -> tuple[str, ...]:
        """Parameters of what comes behind the embedding that no term of the training reached."""
        idle = self.record.idle if self.record else ()
        if not idle or "embedding" not in self.tapped.taps:
            return ()
        behind = reached(self.tapped, self.shape, "output") - reached(self.tapped, self.shape)
        return tuple(name for name in idle if name in behind)

    @property
    def unlearnt(self) -> tuple[str, ...]:
        """Parameters that the embedding itself depends on and that no term reached."""
        idle = self.record.idle if self.record else ()
        if not idle or "embedding" not in self.tapped.taps:
            return ()
        inside = reached(self.tapped, self.shape)
        return tuple(name for name in idle if name in inside)

    @property
    def taught(self) -> Taught:
        """Which of its values mean something: its own output, its embedding, or nothing of both."""
        says = self.says
        if self.untaught or says == "embedding":
            return "nothing" if self.unlearnt else "embedding"
        return says

    def images(self, count: int) -> tuple[Images, str]:
        """Images in [0, 1] to compare on: of the run's test part where it is there, else noise.

        Returns:
            The images, at the size that enters the network, and what they are.
        """
        taken, said = None, f"{count} images of noise"
        if self.record is not None:
            try:
                sets = sets_of(self.record.recipe, CPU)
                batches = Batches(sets.test, min(count, len(sets.test)))
                taken = next(iter(batches.epoch(0))).images
                said = f"{len(taken)} test images"
            except Fault:
                said += ", as the run's set is not here"
        if taken is None:
            taken = torch.rand(count, *self.shape, generator=torch.Generator().manual_seed(0))
        return taken, said


def source_of(text: str, data: str | None = None, data_root: Path | None = None) -> Source:
    """Load what a text names.

    Args:
        text: a run's folder, a file of weights that a run saved, or ``MODEL@FOLDER`` or
            ``MODEL@FILE`` for a network that the file does not name or that is own code.
        data: a set for whose images the network was built, where the file does not say it.
        data_root: where that set's files are.

    Raises:
        Fault: there is no such thing, it is of another network, or nobody says for which images
            it was built.
    """
    if (found := on_disk(text)) is None:
        raise Fault(
            f"there is no run and no file {text}; give a run's folder, its weights, or MODEL@FILE"
        )
    name, path = found
    about = about_weights(path) if path.suffix == ".safetensors" else {}
    made, input = dict[str, int](), Input()
    if data is not None:
        recipe = Recipe(dataset=data, data_root=str(data_root) if data_root else None)
        sets = sets_of(recipe, CPU)
        made, input = made_for(sets, max(len(sets.classes), 1)), sets.input
    elif "classes" not in about:
        raise Fault(
            f"{path} does not say for which images its network was built; name the set: --data SET"
        )
    built = built_from(name, path, made, input)
    channels, size, input = built.made["channels"], built.made["size"], built.input
    height, width = input.size or (size, size)
    tapped = tap(built.network, input, torch.zeros(2, channels, height, width))
    record = Record.load(path.parent) if (path.parent / NAME).exists() else None
    run = path.parent if record else None
    classes = built.class_names or ()
    shape = (channels, height, width)
    return Source(tapped, name, shape, classes, path, about, built.made, run, record)
