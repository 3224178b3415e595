"""The digits that come with scikit-learn: nothing to download, done in seconds."""

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
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise Fault("digits come with scikit-learn: pip install scikit-learn") from error
    found = load_digits()
    images = torch.from_numpy(found.images * 255 / 16).round().byte().unsqueeze(1)
    labels = torch.from_numpy(found.target).long()
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
