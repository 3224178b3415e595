"""Image sets by name: found, checked, and read into memory."""

import os
from collections.abc import Callable
from pathlib import Path

from relatum.datasets import cifar, digits, folder, idx, stl10, tiny_imagenet
from relatum.datasets.dataset import Dataset
from relatum.datasets.decoded import cache
from relatum.spelling import is_folder, unknown_set
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
    name: str, *, root: Path | None = None, download: bool = False, image_size: int | None = None
) -> Dataset:
    """A data set by its name, or a folder of images by its path.

    Args:
        name: one of ``DATASETS``; or ``folder:PATH``, or a path with a slash in it.
        root: where files lie or are put; ``RELATUM_DATA`` from the environment, or else
            ``~/.cache/relatum``, when ``None``. Folders do without it.
        download: fetch what is missing, by torchvision; nothing is fetched otherwise.
        image_size: height and width for a folder's images, 64 when ``None``, and for those of
            STL-10 and Tiny-ImageNet, 32 when ``None``. The other sets stay at their own size,
            because every network resizes for itself.

    Raises:
        Fault: no set has this name; or its files are missing, cut off or damaged.

    Example:
        >>> data = load("digits")
        >>> len(data.train), len(data.test), data.train.shape
        (1438, 359, (1, 8, 8))
    """
    if is_folder(name, DATASETS):
        return folder.load(Path(name.removeprefix("folder:")).expanduser(), image_size)
    if name not in DATASETS:
        raise Fault(unknown_set(name, DATASETS))
    if name in RESIZED and image_size is not None:
        if image_size < 1:
            raise Fault(f"images are at least one pixel high, got an image_size of {image_size}")
        return DATASETS[name](_root(root), download, image_size)
    dataset = DATASETS[name](_root(root), download)
    if image_size not in (None, dataset.train.shape[-1]):
        raise Fault(
            f"{name} has images of {dataset.train.shape[-1]} pixels, wanted {image_size}; only"
            f" folders, {' and '.join(RESIZED)} are resized here, because every network resizes"
            " for itself"
        )
    return dataset


def _root(root: Path | None) -> Path:
    if root is None:
        named = os.environ.get("RELATUM_DATA")
        root = Path(named) if named else cache()
    return Path(root).expanduser()
