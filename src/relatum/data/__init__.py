"""Image sets on the device, and the batches cut from them."""

from relatum.data.augment import AUGMENTS, Augment, Crop, Flip, augmentations
from relatum.data.batches import Batches
from relatum.data.colour import Jitter
from relatum.data.image_set import ImageSet
from relatum.data.resident import Resident, cut
from relatum.data.resized_crop import ResizedCrop
from relatum.data.stored import Stored

__all__ = [
    "AUGMENTS",
    "Augment",
    "Batches",
    "Crop",
    "Flip",
    "ImageSet",
    "Jitter",
    "Resident",
    "ResizedCrop",
    "Stored",
    "augmentations",
    "cut",
]
