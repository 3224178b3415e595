"""What a run keeps for pictures."""

import pytest
import torch

from relatum.evaluate import Collected
from relatum.run.pictured import CLASSES, IMAGES, class_means, pictured


def collected(count: int, classes: int, width: int = 6, seed: int = 0) -> Collected:
    generator = torch.Generator().manual_seed(seed)
    values = {
        "output": torch.randn(count, classes, generator=generator),
        "embedding": torch.randn(count, width, generator=generator),
    }
    labels = torch.randint(classes, (count,), generator=generator)
    return Collected(values, labels, torch.arange(count))


def test_class_means_are_the_equation() -> None:
    said = collected(40, 5)
    logits, labels = said.values["output"].double(), said.labels
    assert labels is not None
    found = class_means(logits.float(), labels)
    for each in range(5):
        rows = [
            (row - row.mean()) / row.std(correction=1)
            for row, label in zip(logits, labels, strict=True)
            if label == each
        ]
        want = torch.stack(rows).mean(0) if rows else torch.zeros(5)
        torch.testing.assert_close(found[each].double(), want.double(), rtol=1e-5, atol=1e-6)


def test_a_class_without_images_is_zero_and_equal_logits_are_finite() -> None:
    found = class_means(torch.ones(3, 4), torch.tensor([0, 0, 2]))
    assert not found.any()


@pytest.mark.parametrize(("count", "classes"), [(3000, 10), (5000, 100), (40, 3)])
def test_as_many_of_each_class(count: int, classes: int) -> None:
    kept = pictured(collected(count, classes), collected(count, classes, seed=1), classes)
    labels = kept["labels"]
    assert len(labels) <= IMAGES
    assert len(torch.unique(labels)) == min(classes, CLASSES)
    assert torch.equal(labels, labels.sort().values)
    assert kept["student_embedding"].shape == (len(labels), 6)
    assert kept["teacher_logits"].dtype == torch.float16
    assert kept["teacher_classes"].shape == (classes, classes)


def test_without_labels_and_without_a_teacher() -> None:
    said = collected(600, 10)
    kept = pictured(Collected(said.values, None, said.indices), None, 0)
    assert set(kept) == {"indices", "student_embedding"}
    assert len(kept["indices"]) == IMAGES


def test_the_teacher_of_other_classes_keeps_no_logits() -> None:
    kept = pictured(collected(50, 5), collected(50, 8), 5)
    assert "teacher_logits" not in kept
    assert "teacher_embedding" in kept
