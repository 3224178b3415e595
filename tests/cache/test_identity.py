"""A cache is known by all that its teacher's words depend on."""

from dataclasses import replace

import pytest
import torch

from relatum.cache import digest_of
from relatum.data import Crop, Flip, Resident
from relatum.types import Fault, Input
from tests import toys
from tests.cache.asked import identity

PLAIN = toys.batches()
AUGMENTED = toys.batches(augment=(Crop(1), Flip()), views=2)


def test_each_fact_counts_and_is_named() -> None:
    teacher = toys.teacher()
    first = identity(teacher, AUGMENTED)
    other = toys.resident(20)
    for changed, says in (
        (identity(teacher, AUGMENTED, teacher="another"), "the teacher's network"),
        (identity(toys.teacher(seed=2), AUGMENTED), "the teacher's weights"),
        (identity(teacher, AUGMENTED, input=Input(size=(8, 8))), "the teacher's input"),
        (identity(teacher, AUGMENTED, precision="bfloat16"), "the precision that"),
        (identity(teacher, replace(AUGMENTED, data=other)), "the training images"),
        (identity(teacher, replace(AUGMENTED, seed=1)), "the seed of the views"),
        (identity(teacher, replace(AUGMENTED, augment=(Crop(2), Flip()))), "the augmentation"),
        (identity(teacher, replace(AUGMENTED, augment=(Flip(), Crop(1)))), "the augmentation"),
    ):
        assert changed.key != first.key
        assert first.difference(changed.facts).startswith(says)
        assert ", " not in first.difference(changed.facts).replace("(size, mean, ", "")
    assert not first.difference(identity(teacher, AUGMENTED).facts)


def test_what_changes_no_word_of_the_teacher_is_no_part_of_it() -> None:
    teacher = toys.teacher()
    assert identity(teacher, PLAIN) == identity(teacher, replace(PLAIN, seed=1, size=3))
    assert identity(teacher, AUGMENTED) == identity(teacher, replace(AUGMENTED, views=7))
    unlabelled = replace(PLAIN, data=toys.resident(labels=False))
    assert identity(teacher, PLAIN) == identity(teacher, unlabelled)


def test_images_count_in_their_order() -> None:
    images = toys.resident(9000).images
    whole = digest_of(Resident(images))
    assert digest_of(Resident(images.clone())) == whole
    assert digest_of(Resident(images.flip(0))) != whole
    one = images.clone()
    one[8999, 0, 5, 5] += 1
    assert digest_of(Resident(one)) != whole
    assert digest_of(Resident(images.view(9000, 1, 4, 9))) != whole
    assert digest_of(Resident(images.transpose(2, 3))) != whole
    assert digest_of(Resident(torch.empty(0, 1, 6, 6, dtype=torch.uint8))) != whole


def test_another_image_every_epoch_is_refused_with_the_way_out() -> None:
    said = r"another way every epoch; fix .* \(--set views=4\), .*augment="
    with pytest.raises(Fault, match=said):
        identity(toys.teacher(), toys.batches(augment=(Flip(),)))
