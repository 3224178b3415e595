"""The digits that come with scikit-learn: nothing to download, done in seconds."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from relatum.data.resident import Resident, cut
from relatum.datasets.dataset import Dataset
from relatum.types import Fault

HELD_BACK = 0.2
SEED = 0


def load() -> Dataset:
    """1,797 handwritten digits of 8×8 pixels, a fifth of them held back as the test part.

    The published counts 0 to 16 become bytes, ``round(count × 255 / 16)``. The test part is
    stratified and always the same; mean and deviation are those of the training part.

    Raises:
        Fault: scikit-learn is not installed.
    """
    table = _table()
    counts = table[:, :-1].reshape(-1, 1, 8, 8)
    images = torch.from_numpy(counts * 255 / 16).round().byte()
    labels = torch.from_numpy(table[:, -1]).long()
    train, test = cut(Resident(images, labels), HELD_BACK, SEED)
    scaled = train.images.double() / 255
    return Dataset(
        name="digits",
        train=train,
        test=test,
        classes=tuple("0123456789"),
        mean=(round(scaled.mean().item(), 4),),
        std=(round(scaled.std(correction=0).item(), 4),),
        note="scikit-learn's digits; test part: a stratified fifth, always the same",
    )


def _table() -> Any:
    """A row for each digit: its 64 counts, and which it is."""
    place = find_spec("sklearn")
    if place is None or not place.submodule_search_locations:
        raise Fault("digits come with scikit-learn: pip install scikit-learn")
    # scikit-learn takes most of a second to import, and all that is wanted of it is this file
    file = Path(place.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    found = load_digits()
    return np.column_stack((found.data, found.target))
