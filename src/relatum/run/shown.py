"""What pictures of a finished run are drawn from, written into its folder."""

from dataclasses import replace
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from relatum import relations, together
from relatum.data import ImageSet
from relatum.data.chosen import of_each_class
from relatum.run.claim import RELATIONS
from relatum.run.hearing import Hear, Heard, hear
from relatum.run.networks import Pair
from relatum.run.pictured import PICTURED, pictured
from relatum.run.run_teacher import RunTeacher
from relatum.taps import Tapped
from relatum.weights import write

SHOWN = 50
"""Test images whose relation matrices are kept, to be looked at."""


def keep_pictures(folder: Path, pair: Pair, test: ImageSet, hear: Hear) -> None:
    """Write what reports draw of some test images."""
    shown = shown_relations(pair.student, pair.teacher, test, hear)
    together.by_first(lambda: write(folder / RELATIONS, save(shown)))
    taught = None if pair.teacher is None else hear(pair.teacher.tapped, test)
    if taught is not None and pair.setting.teacher_says != "logits":  # however wide it is
        values = {name: each for name, each in taught.values.items() if name != "output"}
        taught = replace(taught, values=values)
    kept = pictured(hear(pair.student, test), taught, pair.setting.classes or 0)
    together.by_first(lambda: write(folder / PICTURED, save(kept)))


def shown_relations(
    student: Tapped, teacher: RunTeacher | None, data: ImageSet, hear: Hear = hear
) -> dict[str, Tensor]:
    """The cosine relations of fifty images to both networks, sorted by class, for pictures."""
    indices = of_each_class(data.labels, len(data), SHOWN, SHOWN)
    found = {"indices": indices}
    if data.labels is not None:
        found["labels"] = data.labels.cpu()[indices]
    heard: dict[str, Heard] = {"student": student}
    if teacher is not None:
        heard["teacher"] = teacher.tapped
    for name, each in heard.items():
        if (embedding := hear(each, data).values.get("embedding")) is not None:
            found[name] = relations.cosine(embedding[indices.to(embedding.device)].float()).cpu()
    return found
