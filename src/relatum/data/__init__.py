"""Image sets on the device, and the batches cut from them."""

from relatum.data.augment import AUGMENTS, Augment, Crop, Flip, augmentations
from relatum.data.batches import Batches
from relatum.data.resident import Resident, cut

__all__ = [
    "AUGMENTS",
    "Augment",
    "Batches",
    "Crop",
    "Flip",
    "Resident",
    "augmentations",
    "cut",
]
