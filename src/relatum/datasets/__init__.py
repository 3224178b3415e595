"""Image sets by name: found, checked, and read into memory."""

import os
from collections.abc import Callable
from pathlib import Path

from relatum.datasets import cifar, digits, folder, idx, stl10, tiny_imagenet
from relatum.datasets.dataset import Dataset
from relatum.datasets.decoded import cache
from relatum.datasets.own import SIZE, Reading
from relatum.datasets.room import Memory
from relatum.spelling import own_set, path_of, unknown_set
from relatum.types import Fault

__all__ = ["DATASETS", "Dataset", "load"]

DATASETS: dict[str, Callable[..., Dataset]] = {
    "digits": lambda root, download: digits.load(),
    "mnist": idx.mnist,
    "fashion-mnist": idx.fashion_mnist,
    "cifar10": cifar.cifar10,
    "cifar100": cifar.cifar100,
    "stl10": stl10.stl10,
    "tiny-imagenet": tiny_imagenet.tiny_imagenet,
}
"""Called with the root, and whether to download."""
RESIZED = ("stl10", "tiny-imagenet")
"""Those that are resized when they are read, and so are called with a size, too."""


def load(
    name: str,
    *,
    root: Path | None = None,
    download: bool = False,
    image_size: int | None = None,
    memory: Memory = "resident",
    skip_broken: bool = False,
    room: int | None = None,
) -> Dataset:
    """A data set by its name, or a user's own images by where they are.

    Args:
        name: one of ``DATASETS``; or ``folder:PATH``, or a path with a slash in it; or
            ``table:FILE``, ``hf:NAME``, ``wds:SHARDS`` (``relatum.spelling.OWN``).
        root: where files lie or are put; ``RELATUM_DATA`` from the environment, or else
            ``~/.cache/relatum``, when ``None``. A user's own images do without it.
        download: fetch what is missing, by torchvision; nothing is fetched otherwise.
        image_size: height and width for a user's own images, 64 when ``None``, and for those of
            STL-10 and Tiny-ImageNet, 32 when ``None``. The other sets stay at their own size,
            because every network resizes for itself.
        memory: whether a user's own images are decoded at once, while they are used
            (``"streamed"``), or at once if there is room (``"auto"``).
        skip_broken: leave out those of them that cannot be read.
        room: bytes that they may take, for ``"auto"``; any number when ``None``.

    Raises:
        Fault: no set has this name; or its files are missing, cut off or damaged.

    Example:
        >>> data = load("digits")
        >>> len(data.train), len(data.test), data.train.shape
        (1438, 359, (1, 8, 8))
    """
    if own := own_set(name, DATASETS):
        size = SIZE if image_size is None else image_size
        return _own(*own, Reading(size, memory, skip_broken, room), download)
    if name not in DATASETS:
        raise Fault(unknown_set(name, DATASETS))
    if memory == "streamed" or skip_broken:
        what = "memory=streamed" if memory == "streamed" else "skip_broken"
        raise Fault(f"{name} comes checked and lies in memory: {what} is for images of your own")
    if name in RESIZED and image_size is not None:
        if image_size < 1:
            raise Fault(f"images are at least one pixel high, got an image_size of {image_size}")
        return DATASETS[name](_root(root), download, image_size)
    dataset = DATASETS[name](_root(root), download)
    if image_size not in (None, dataset.train.shape[-1]):
        raise Fault(
            f"{name} has images of {dataset.train.shape[-1]} pixels, wanted {image_size}; only"
            f" your own images, {' and '.join(RESIZED)} are resized here, because every network"
            " resizes for itself"
        )
    return dataset


def _own(kind: str, text: str, reading: Reading, download: bool) -> Dataset:
    """A user's own images."""
    if not (text if kind == "folder" else text.partition("#")[0]).strip():
        raise Fault(f"'{kind}:{text}' does not say where the images are; wanted {kind}:PATH")
    if kind == "table":
        from relatum.datasets import table

        return table.load(text, reading)
    if kind == "wds":
        from relatum.datasets import shards

        return shards.load(text, reading)
    if kind == "hf":
        from relatum.datasets import hugging_face

        return hugging_face.load(text, reading, download)
    return folder.load(path_of(text), reading=reading)


def _root(root: Path | None) -> Path:
    if root is None:
        named = os.environ.get("RELATUM_DATA")
        root = Path(named) if named else cache()
    return path_of(str(root))
