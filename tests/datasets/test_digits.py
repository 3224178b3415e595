import hashlib

import torch
from sklearn.datasets import load_digits

from relatum.datasets import load


def test_digits_are_scikit_learns() -> None:
    data = load("digits")
    assert (len(data.train), len(data.test)) == (1438, 359)
    assert data.train.shape == (1, 8, 8)
    found = load_digits()
    wanted = {
        (label, bytes(round(count * 255 / 16) for count in image.flatten().tolist()))
        for label, image in zip(found.target.tolist(), found.images, strict=True)
    }
    seen = set()
    for part in (data.train, data.test):
        assert part.labels is not None
        for image, label in zip(part.images, part.labels.tolist(), strict=True):
            seen.add((label, bytes(image.flatten().tolist())))
    assert seen == wanted


def test_the_test_part_is_stratified_and_always_the_same() -> None:
    test, again = load("digits").test, load("digits").test
    assert test.labels is not None
    assert again.labels is not None
    assert torch.equal(test.images, again.images)
    counts = torch.from_numpy(load_digits().target).bincount()
    assert (test.labels.bincount() - 0.2 * counts).abs().max() < 1
    # What a run reports depends on this cut: it must not move between releases.
    content = test.images.numpy().tobytes() + bytes(test.labels.tolist())
    assert hashlib.sha256(content).hexdigest().startswith("8c053a33b36c2189")


def test_mean_and_deviation_are_the_training_parts() -> None:
    data = load("digits")
    pixels = data.train.images.flatten().double() / 255
    assert abs(data.mean[0] - pixels.mean()) < 1e-4
    assert abs(data.std[0] - pixels.std()) < 1e-4
