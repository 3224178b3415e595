"""What pictures of a run are drawn from, kept once: a report shows it, and runs no network."""

import torch
from torch import Tensor

from relatum.data.chosen import of_each_class
from relatum.evaluate import Collected

PICTURED = "pictures.safetensors"
CLASSES, IMAGES = 20, 500
"""Of as many classes, from the first, as many test images in all, the same number of each."""


def pictured(said: Collected, taught: Collected | None, classes: int) -> dict[str, Tensor]:
    r"""What both networks say of some test images, and of every class in the mean.

    - ``indices`` and ``labels`` of the images that are shown, sorted by class;
    - ``student_embedding``, ``student_logits``, ``teacher_…``: of those images, in half
      precision, which is enough for a picture;
    - ``student_classes``, ``teacher_classes``: for every class the mean over all its test
      images of the standardised logits :math:`(z - \bar z) / s_z` (with the unbiased standard
      deviation over classes), as RRD's authors draw class correlations.

    Args:
        said: what the student said of all test images.
        taught: what the teacher said.
        classes: how many the labels tell apart; 0 where there are none.
    """
    # On the CPU: sums by class on a GPU are added up in another order every time.
    said, taught = said.cpu(), None if taught is None else taught.cpu()
    chosen = of_each_class(said.labels, len(said), IMAGES, CLASSES)
    found = {"indices": said.indices[chosen]}
    if said.labels is not None:
        found["labels"] = said.labels[chosen]
    for name, each in (("student", said), ("teacher", taught)):
        if each is None:
            continue
        if "embedding" in each.values:
            found[f"{name}_embedding"] = each.values["embedding"][chosen].flatten(1).half()
        logits = each.values.get("output")
        if classes > 1 and logits is not None and logits.shape[1:] == (classes,):
            found[f"{name}_logits"] = logits[chosen].half()
            if each.labels is not None:
                found[f"{name}_classes"] = class_means(logits.float(), each.labels)
    return {name: value.contiguous() for name, value in found.items()}


def class_means(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over every class of its images' standardised logits (C×C); zero where none are."""
    centred = logits - logits.mean(1, keepdim=True)
    standard = centred / centred.std(1, keepdim=True).clamp_min(1e-6)
    classes = logits.shape[1]
    sums = torch.zeros(classes, classes).index_add_(0, labels, standard)
    counts = torch.bincount(labels, minlength=classes).clamp_min(1)
    return sums / counts[:, None]
