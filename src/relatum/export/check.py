"""Whether a written file says what the student says."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from relatum.evaluate import agreement
from relatum.export.graph import Graph, Runs, as_bytes, resized
from relatum.types import Fault, Images

TOLERANCE = 1e-4
"""The largest difference to the student's own values that is put down to rounding, as a share of
the largest of them. Float32 has 7 digits, and other runtimes add up in another order."""
CUTS = (1, 7)
"""The first batches that are compared; what is left comes at once."""


class Check(BaseModel):
    """How far what a file gives is from what the student gave."""

    model_config = ConfigDict(frozen=True)

    images: int
    compared_on: str
    batches: tuple[int, ...]
    largest_difference: float
    """Over all values of all outputs."""
    relative_difference: float
    """The same as a share of the largest value of its output; the worst of the outputs."""
    top1_agreement: float | None = None
    """In percent, where logits leave it."""


def compare(graph: Graph, runs: Runs, images: Images, said: str) -> Check:
    """Show a file the images that the student sees, and compare.

    Args:
        graph: what is in the file.
        runs: the file, opened again.
        images: in [0, 1], of any size.
        said: what they are.

    Raises:
        Fault: the student's values are not finite, or the file's differ from them.
    """
    images = _sized(graph, images)
    parts = list(cut(len(images), graph.batch))
    images = images[: sum(parts)]
    with torch.no_grad():
        wanted = _wanted(graph, images)
        given = [runs(graph.entered(part)) for part in torch.split(images, parts)]
    found = {
        name: torch.cat([each[place] for each in given]) for place, name in enumerate(graph.leaving)
    }
    for name, value in wanted.items():
        if not value.isfinite().all():
            raise Fault(f"the student's {name} on {said} are not finite: nothing to export")
        if found[name].shape != value.shape:
            raise Fault(
                f"the file gives {name} of {tuple(found[name].shape)}, and the student of"
                f" {tuple(value.shape)}: it was not kept"
            )
    gaps = {name: (found[name] - value).abs().max().item() for name, value in wanted.items()}
    shares = {
        name: gap / max(wanted[name].abs().max().item(), torch.finfo().tiny)
        for name, gap in gaps.items()
    }
    worst = max(shares, key=lambda name: (shares[name] != shares[name], shares[name]))
    if not shares[worst] <= TOLERANCE:  # NaN is no agreement either
        raise Fault(
            f"the file's {worst} differ from the student's by {shares[worst]:.2g} of the largest on"
            f" {said}, which is more than rounding ({TOLERANCE:g}): it was not kept"
        )
    logits = "logits" in wanted
    return Check(
        images=len(images),
        compared_on=said,
        batches=tuple(parts),
        largest_difference=max(gaps.values()),
        relative_difference=shares[worst],
        top1_agreement=agreement(found["logits"], wanted["logits"]) if logits else None,
    )


def cut(count: int, batch: int | None) -> Iterator[int]:
    """The batches that are compared: of several lengths where the file takes any.

    Raises:
        Fault: there are fewer images than the file takes at a time.
    """
    if batch is not None:
        if count < batch:
            raise Fault(f"{count} images are less than a batch of {batch}: raise --images")
        yield from [batch] * (count // batch)
        return
    for each in CUTS:
        if count > each:
            yield each
            count -= each
    yield count


def _sized(graph: Graph, images: Images) -> Images:
    """The images at the size that the file takes, or at one that it has to resize."""
    height, width = graph.source.shape[1:]
    size = (height + 7, width + 11) if graph.resized else (height, width)
    if tuple(images.shape[-2:]) != size:
        images = F.interpolate(images, size, mode="bilinear", antialias=True).clamp(0, 1)
    return as_bytes(images) / 255 if graph.entering == "uint8" else images


def _wanted(graph: Graph, images: Images) -> dict[str, Tensor]:
    """What the student itself gives, as it was trained: by its own normalisation."""
    if graph.resized:
        size = graph.source.shape[1:]
        images = resized(images, (size[0], size[1]))
    captured = graph.source.tapped(images)
    wanted = {name: captured.read(on) for name, on in graph.leaving.items()}
    return {name: value for name, value in wanted.items() if isinstance(value, Tensor)}
