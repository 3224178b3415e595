from typing import Any

import pytest
import torch

from relatum.data import Resident
from relatum.datasets import Dataset
from relatum.types import Fault


def resident(samples: int = 4, labels: list[int] | None = None, side: int = 8) -> Resident:
    images = torch.zeros(samples, 3, side, side, dtype=torch.uint8)
    return Resident(images, None if labels is None else torch.tensor(labels, dtype=torch.int64))


THREE = (0.5, 0.5, 0.5)
GOOD: dict[str, Any] = {
    "name": "mine",
    "train": resident(labels=[0, 1, 1, 0]),
    "test": resident(labels=[0, 1, 1, 0]),
    "classes": ("cat", "dog"),
    "mean": THREE,
    "std": THREE,
}


def test_what_fits_is_taken() -> None:
    assert Dataset(**GOOD).note == ""
    Dataset(**{**GOOD, "train": resident(), "test": resident(), "classes": ()})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"test": resident(0, [])}, "both parts need samples"),
        ({"test": resident(labels=[0, 1, 1, 0], side=9)}, "bring both to one size"),
        ({"mean": (0.5,)}, "3 channels need as many"),
        ({"classes": ()}, "the train part has labels"),
        ({"test": resident()}, "the test part has no labels"),
        ({"test": resident(labels=[0, 1, 2, 0])}, "run from 0 to 2"),
        ({"train": resident(labels=[0, -1, 1, 0])}, "run from -1 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(Fault, match=says):
        Dataset(**{**GOOD, **change})
