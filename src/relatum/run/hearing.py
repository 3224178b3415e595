"""What the networks say of whole sets: each is shown a set once, for as long as it is the same."""

from collections.abc import Callable, Collection
from typing import Protocol

from relatum import world
from relatum.data import Batches, ImageSet
from relatum.evaluate import Collected, collect, footprint
from relatum.taps import Tapped


class Informed(Protocol):
    """What knows what to say of a whole set without its images: a table, or who has asked."""

    @property
    def taps(self) -> Collection[str]:
        """What it says, by the names of taps."""
        ...

    def about(self, data: ImageSet, on: tuple[str, ...]) -> Collected:
        """What it says of a set; no values where it knows nothing of it."""
        ...


AT_ONCE = {"cpu": 2**25}
"""Bytes that the largest layer of a batch takes, by the kind of device. On a processor that is what
its caches hold: resnet8x4 takes more than twice as long for batches of 1,000 as for 64, for it then
waits for memory (``benchmarks/evaluation_batches.py``)."""
AT_ONCE_ELSEWHERE = 2**30
LARGEST = 1000
"""Images of a batch, however small they are."""

Heard = Tapped | Informed
Hear = Callable[[Heard, ImageSet], Collected]
"""How it is learnt what a network says of some images."""


def hear(tapped: Heard, data: ImageSet) -> Collected:
    """One pass: the output and, where there is one, the embedding, both left on the device."""
    on = ("output", "embedding") if "embedding" in tapped.taps else ("output",)
    return listen(tapped, data, on)


def listen(tapped: Heard, data: ImageSet, on: tuple[str, ...]) -> Collected:
    """One pass over some images, in order and as they are, in float32 or what the network is in.

    Batches are as large as memory likes them for this network, which hangs on nothing but its
    layers, the size of the images and the kind of device: so the numbers are the same whatever
    else the machine does. They are shared out among processes where there is enough of them.
    """
    if not isinstance(tapped, Tapped):
        return tapped.about(data, on)
    size = min(fitting(tapped, data.shape) * world.size(), LARGEST, len(data))
    shared = (len(data) % size or size) >= world.size()
    return collect(tapped, Batches(data, size, shared=shared).epoch(0), on, stay=True)


def fitting(tapped: Tapped, shape: tuple[int, int, int]) -> int:
    """How many images a process shows a network at once."""
    room = AT_ONCE.get(tapped.mean.device.type, AT_ONCE_ELSEWHERE)
    return max(1, min(room // max(footprint(tapped, shape), 1), LARGEST))


class Hearing:
    """As ``hear``, once for each network and set; what is asked again is remembered.

    A frozen teacher is so heard once in a run. Whoever changes a network says so: ``forget``.
    """

    def __init__(self) -> None:
        self._said: dict[Heard, dict[ImageSet, Collected]] = {}

    def __call__(self, tapped: Heard, data: ImageSet) -> Collected:
        """What the network says of these images."""
        said = self._said.setdefault(tapped, {})
        if data not in said:
            said[data] = hear(tapped, data)
        return said[data]

    def forget(self, tapped: Tapped) -> None:
        """It has changed, or is about to: what it said does not hold any more."""
        self._said.pop(tapped, None)
