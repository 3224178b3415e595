"""What a data set is once it was found and checked."""

from dataclasses import dataclass

from relatum.data.image_set import ImageSet
from relatum.types import Fault


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in two parts, ready to be cut into batches.

    Attributes:
        name: what it is loaded by.
        train: the part to learn from; a validation part is cut from this one.
        test: the part to be judged on.
        classes: their names, in the order of the labels; empty when there are no labels.
        mean: of images in [0, 1], one number a channel: what networks subtract.
        std: what they then divide by.
        note: where it comes from and how far it was checked, in a few words.
        said: what is worth a line when a run begins: images that are left out, or streamed.

    Raises:
        Fault: parts, classes, labels or channels that do not fit each other.
    """

    name: str
    train: ImageSet
    test: ImageSet
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    note: str = ""
    said: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (len(self.train) and len(self.test)):
            raise Fault(
                f"{self.name}: both parts need samples, there are {len(self.train):,} to train"
                f" and {len(self.test):,} to test"
            )
        if self.train.shape != self.test.shape:
            raise Fault(
                f"{self.name}: images of {self.train.shape} to train and of {self.test.shape}"
                " to test; bring both to one size"
            )
        channels = self.train.shape[0]
        if not len(self.mean) == len(self.std) == channels:
            raise Fault(
                f"{self.name}: {channels} channels need as many means and deviations, got"
                f" {len(self.mean)} and {len(self.std)}"
            )
        for part, data in (("train", self.train), ("test", self.test)):
            self._check_labels(part, data)

    def _check_labels(self, part: str, data: ImageSet) -> None:
        if (data.labels is None) == bool(self.classes):
            found = "has no labels" if data.labels is None else "has labels"
            raise Fault(
                f"{self.name}: the {part} part {found}, and {len(self.classes)} classes are named;"
                " name a class for each label, and none without labels"
            )
        if data.labels is None:
            return
        low, high = int(data.labels.min()), int(data.labels.max())
        if low < 0 or high >= len(self.classes):
            raise Fault(
                f"{self.name}: labels of the {part} part run from {low} to {high};"
                f" {len(self.classes)} classes count from 0 to {len(self.classes) - 1}"
            )
