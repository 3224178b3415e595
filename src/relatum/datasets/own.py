"""A user's own images, wherever they come from: read or left where they lie, cut, described."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from relatum.data.image_set import ImageSet
from relatum.data.resident import Resident, cut
from relatum.data.stored import Stored
from relatum.datasets.dataset import Dataset
from relatum.datasets.originals import Broken, Originals, check_all, decode, decode_all
from relatum.datasets.room import Memory
from relatum.types import Fault

SIZE = 64
HELD_BACK = 0.2
HELD = "test part: a fifth held back, always the same"
SEED = 0
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, which pretrained networks want."""
NAMED = 5
"""How many broken images are named."""


@dataclass(frozen=True)
class Reading:
    """How images are wanted.

    Attributes:
        size: height and width in pixels.
        memory: whether they are held, decoded while they are used, or held if there is room.
        skip_broken: leave out what cannot be read, and say so, instead of refusing the set.
        room: bytes that they may take; as many as they like when ``None``.
    """

    size: int = SIZE
    memory: Memory = "resident"
    skip_broken: bool = False
    room: int | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise Fault(f"images are at least one pixel high, got an image_size of {self.size}")

    def choice(self, images: int) -> Literal["resident", "streamed"]:
        """What becomes of so many images."""
        if self.memory != "auto":
            return self.memory
        fits = self.room is None or images * self.bytes <= self.room
        return "resident" if fits else "streamed"

    @property
    def bytes(self) -> int:
        """That an image takes."""
        return 3 * self.size**2


@dataclass(frozen=True)
class Part:
    """Images to learn from or to be judged on.

    Attributes:
        originals: where they are.
        labels: the name of each one's class, or ``None``.
    """

    originals: Originals
    labels: Sequence[str] | None

    def __len__(self) -> int:
        return len(self.originals.names)


def dataset_of(
    name: str,
    train: Part,
    test: Part | None,
    reading: Reading,
    *,
    classes: Sequence[str] | None = None,
    note: str = "",
) -> Dataset:
    """A set of a user's own images.

    Args:
        name: what it is loaded by.
        train: what is learnt from.
        test: what is judged on; a fifth of the others, always the same, when ``None``: of every
            class as large a part.
        reading: how the images are wanted.
        classes: in the order of their numbers; those that the training part has, sorted, by
            default. A single class tells nothing, so it gives no labels.
        note: a word on the test part.

    Raises:
        Fault: images that cannot be read, too few to hold a fifth back, a class without images,
            or one of the test part alone.
    """
    ordered = tuple(in_order(train.labels or ()) if classes is None else classes)
    ordered = ordered if train.labels is not None and len(ordered) > 1 else ()
    _check_classes(name, train, test, ordered)
    every = [part for part in (train, test) if part is not None]
    choice = reading.choice(sum(map(len, every)))
    hold = choice == "resident"
    sets: list[ImageSet] = []
    broken: list[tuple[str, Broken]] = []
    for part in every:
        found, bad = (_held if hold else _left)(part, ordered, reading)
        broken += [(part.originals.names[each.row], each) for each in bad]
        sets.append(found)
    total = sum(map(len, every))
    if broken and not (reading.skip_broken and len(broken) < total):
        raise Fault(f"{_said(name, broken, total)}; {_way_out(len(broken) == total)}")
    _check_left(name, train, sets[0], ordered)
    said = [f"{_said(name, broken, total)}, and left out"] if broken else []
    if train.labels and len(alone := set(train.labels)) == 1:
        only = alone.pop()
        if ordered:
            all_of = "all images to learn from are of one"
            said.append(f"{name} has {len(ordered)} classes, and {all_of}, {only!r}")
        elif only:
            said.append(f"{name} has one class, {only!r}, which tells nothing: no labels")
        else:
            said.append(f"{name} has no class folders: no labels are used")
    if test is None:
        if not round(HELD_BACK * len(sets[0])):
            raise Fault(
                f"{name}: {len(sets[0])} images are too few to hold a fifth back; add images, or"
                " name a test part"
            )
        sets = list(cut(sets[0], HELD_BACK, SEED))
        note = note or HELD
    if hold:
        note = f"{note}; held in memory"
    else:
        left = total - len(broken)
        said.append(f"streamed: {left:,} images of {name} are decoded while they are used")
    return Dataset(name, sets[0], sets[1], ordered, MEAN, STD, note, tuple(said))


def in_order(labels: Sequence[str]) -> list[str]:
    """The different ones, sorted: numbers by their value, if all of them are numbers."""
    every = set(labels)
    numbers = all(each.isascii() and each.removeprefix("-").isdigit() for each in every)
    return sorted(every, key=int) if numbers else sorted(every)


def _held(
    part: Part, classes: tuple[str, ...], reading: Reading
) -> tuple[Resident, tuple[Broken, ...]]:
    images, broken = decode_all(part.originals, reading.size)
    good = _good(part, broken)
    labels, names = _of(part, classes, good)
    return Resident(images, labels, names), broken


def _left(
    part: Part, classes: tuple[str, ...], reading: Reading
) -> tuple[Stored, tuple[Broken, ...]]:
    broken = check_all(part.originals)
    good = _good(part, broken)
    labels, names = _of(part, classes, good)
    stored = Stored(
        partial(decode, part.originals, size=reading.size),
        torch.tensor(good, dtype=torch.int64),
        (3, reading.size, reading.size),
        labels,
        names,
        key=f"{part.originals.where} at {reading.size}, {part.originals.fingerprint()}",
    )
    return stored, broken


def _good(part: Part, broken: tuple[Broken, ...]) -> list[int]:
    bad = {each.row for each in broken}
    return [row for row in range(len(part)) if row not in bad]


def _of(
    part: Part, classes: tuple[str, ...], rows: list[int]
) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    """The labels and names of some rows."""
    every = part.originals.names
    names = tuple(every[row] for row in rows)
    if not classes or part.labels is None:
        return None, names
    numbers = {each: number for number, each in enumerate(classes)}
    labels = [numbers[part.labels[row]] for row in rows]
    return torch.tensor(labels, dtype=torch.int64), names


def _check_classes(name: str, train: Part, test: Part | None, classes: tuple[str, ...]) -> None:
    if test is None or not classes:
        return
    if test.labels is None:
        raise Fault(f"{name}: the test part has no labels and the training part has; give it some")
    if strange := sorted(set(test.labels) - set(classes)):
        raise Fault(
            f"{name}: class {strange[0]!r} of the test part is none of the training part's"
            f" {len(classes)}; use the same classes in both"
        )


def _check_left(name: str, train: Part, left: ImageSet, classes: tuple[str, ...]) -> None:
    """Refuse a class all of whose images are broken."""
    if left.labels is None or train.labels is None or len(left) == len(train):
        return
    counts = Counter(left.labels.tolist())
    there = set(train.labels)
    for number, each in enumerate(classes):
        if each in there and not counts[number]:
            raise Fault(f"{name}: no image of class {each!r} can be read; mend them or remove it")


def _said(name: str, broken: Sequence[tuple[str, Broken]], total: int) -> str:
    named = ", ".join(f"{file} ({each.reason})" for file, each in broken[:NAMED])
    more = f" and {len(broken) - NAMED:,} more" if len(broken) > NAMED else ""
    return f"{len(broken):,} of {total:,} images of {name} cannot be read: {named}{more}"


def _way_out(all_of_them: bool) -> str:
    return "mend them" if all_of_them else "mend or remove them, or leave them out (--skip-broken)"
