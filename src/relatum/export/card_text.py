"""Parts of a model card: what it opens with, where it goes, and what the numbers do not say."""

from itertools import takewhile
from pathlib import Path

from relatum.export.job import public, public_method
from relatum.export.source import Source, Taught
from relatum.record import Record
from relatum.report.rows import ALONE
from relatum.report.words import short
from relatum.types import Fault

NAME = "README.md"
KINDS: dict[Taught, str] = {
    "logits": "An image classifier",
    "embedding": "A network that embeds images",
    "reconstruction": "An auto-encoder",
    "nothing": "A network to train further: its feature maps were taught, and neither an embedding"
    " nor classes, so what it puts out means nothing yet",
}
"""What a student is good for."""


def title(record: Record) -> str:
    """What the model is called."""
    taught = "" if record.recipe.method == ALONE else f", {public_method(record.recipe.method)}"
    name = f"{public_method(record.recipe.student)} on {public(record.recipe.dataset)}{taught}"
    return name.replace("|", " ")


def opening(source: Source, record: Record) -> str:
    """What it is, how large, and whose pupil."""
    by = ""
    if record.teacher is not None:
        size = record.teacher.parameters  # of a table there are none
        by = (
            f" It was taught by {teacher_name(record)}"
            f"{f' ({short(size)} parameters)' if size else ''}, by the method"
            f" `{public_method(record.recipe.method)}`."
        )
    return (
        f"{KINDS[source.taught]}: {public_method(record.recipe.student)},"
        f" {short(record.parameters)} parameters, {short(record.macs)} multiply-adds an image.{by}"
        f" Made with relatum {record.environment.get('relatum', '')}."
    )


def teacher_name(record: Record) -> str:
    """The teacher's name, and never the place of a file."""
    assert record.teacher is not None
    name = public_method(record.teacher.name)
    return public(name) if name.startswith("table:") or name.startswith("/") else name


def place(folder: Path) -> Path:
    """Where a card goes.

    Raises:
        Fault: there is a ``README.md`` that is no card of relatum's.
    """
    path = folder / NAME
    if not path.exists():
        return path
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    front = set(takewhile(lambda line: line != "---", lines[1:])) if lines[:1] == ["---"] else set()
    # the library of a student of timm's may be timm; the tag tells
    if not {"library_name: relatum", "- relatum"} & front:
        raise Fault(f"{path} is there and is no card that relatum wrote: choose another --out")
    return path


def limits(record: Record) -> str:
    """What was not looked at, and what a student takes over from its teacher."""
    unknown = "of other things"
    if {"top1", "agreement"} & set(record.metrics):  # its classifier was taught
        unknown = "of classes that it does not know, for which it names one of its own all the same"
    told = [
        "It was measured on images like those it was trained on, and on no others: not on images of"
        f" other cameras, on disturbed images, or on images {unknown}.",
    ]
    if record.teacher is not None:
        told.append(
            "A student takes over its teacher's mistakes and preferences; they were not looked for."
        )
    if not record.labelled:
        told.append("No labels were used, so nothing but the teacher says what images are alike.")
    if record.recipe.scale < 1:
        told.append(
            f"It was trained for {100 * record.recipe.scale:.3g} % of its protocol's epochs."
        )
    if record.altered:
        told.append(f"Its training was altered: {record.altered}.")
    told.append(
        "Calibration, fairness between groups of people and resistance to attacks were not"
        " measured."
    )
    return "\n".join(f"- {each}" for each in told)
