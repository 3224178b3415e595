"""The model card: what a student is, how it was made and what it reached, from its record."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from relatum.export.card_code import how_to_use
from relatum.export.card_text import limits, opening, place, teacher_name, title
from relatum.export.job import public, public_method
from relatum.export.manifest import Manifest
from relatum.export.source import Source
from relatum.grammar import parse
from relatum.methods import METHODS
from relatum.record import NAME as RECORD
from relatum.record import Record
from relatum.report.columns import markdown, markdown_text
from relatum.report.meanings import meanings
from relatum.report.rows import ALONE
from relatum.report.table import TOP1, Summary, summarise
from relatum.report.words import counted
from relatum.types import Fault
from relatum.weights import write

ON_HUB = {
    "mnist": "ylecun/mnist",
    "fashion-mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
    "tiny-imagenet": "zh-plus/tiny-imagenet",
}
"""The hub's names of sets; a card links to no other."""
PLACES = {"data_root", "cache", "teacher", "begin"}
"""Fields of a recipe that name places of the machine that trained."""
TOLD = {"dataset", "student", "method", "seed", "labels"}
"""Fields of a recipe that a card tells elsewhere."""
OWNED = (
    "Weights trained with relatum belong to who trained them: relatum's own licence (Apache-2.0)"
    " covers its code alone."
)


@dataclass(frozen=True)
class Licences:
    """What is said of licences, by the hub's short names (``apache-2.0``, ``mit``, ``other``).

    Attributes:
        own: of the weights; nothing is claimed where it is ``None``.
        teacher: of the teacher's weights.
    """

    own: str | None = None
    teacher: str | None = None


def write_card(source: Source, folder: Path, licences: Licences) -> Path:
    """Write ``README.md`` beside the files that it tells of, and say where it is.

    Raises:
        Fault: huggingface_hub is not installed, or the file is no card or cannot be written.
    """
    path = place(folder)
    write(path, card(source, Manifest.load(folder), licences).encode())
    return path


def card(source: Source, manifest: Manifest | None, licences: Licences) -> str:
    """The card as text, in the hub's format: YAML about it, then Markdown.

    Args:
        source: the student of a run.
        manifest: what was exported of it.
        licences: what is said of them.

    Raises:
        Fault: huggingface_hub is not installed.
    """
    record = source.record
    assert record is not None
    summary = _summary(source, record)
    parts = [
        f"---\n{_metadata(source, manifest, licences, summary)}\n---",
        f"# {title(record)}",
        opening(source, record),
        f"## Results\n\n{_results(summary, record)}",
        f"## Use it\n\n{how_to_use(source, manifest)}",
        f"## Training\n\n{_training(record, licences)}",
        f"## Limits\n\n{limits(record)}",
        f"## Licence\n\n{_licence(record, licences)}",
    ]
    return "\n\n".join(parts) + "\n"


def _summary(source: Source, record: Record) -> Summary:
    """The run with those of its other seeds and with the student alone, where they lie beside it.

    Where those are of another setting, it stands for itself.
    """
    run = source.run
    assert run is not None
    places = [run / RECORD]
    if run.name.startswith("seed-"):
        top = run.resolve().parent.parent
        labels = dict.fromkeys((run.resolve().parent.name, ALONE))
        places = [each for label in labels for each in sorted(top.glob(f"{label}/seed-*/{RECORD}"))]
    with suppress(Fault):
        return summarise([Record.load(each.parent) for each in places])
    return summarise([record])


def _results(summary: Summary, record: Record) -> str:
    shown = partial(_public, [line.title for line in summary.lines])
    notes = shown(" ".join(summary.notes()))
    columns = [
        replace(each, heading=shown(each.heading), cells=tuple(map(shown, each.cells)))
        for each in summary.columns()
    ]
    where = f"Measured on the {record.samples.get('test', 0):,} test images"
    told = "\n".join(f"- {markdown_text(each)}" for each in meanings(summary))
    return f"{markdown(columns)}\n\n{where} of {public(record.recipe.dataset)}. {notes}\n\n{told}"


def _public(names: Iterable[str], text: str) -> str:
    """A text in which these names say no place."""
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, public_method(name))
    return text


def _training(record: Record, licences: Licences) -> str:
    recipe = record.recipe
    set_name = public(recipe.dataset)
    facts = [
        f"**Data**: {set_name}, {record.samples.get('train', 0):,} training images;"
        f" labels {'used' if record.labelled else 'not used'}.",
    ]
    if record.teacher is not None:
        licence = licences.teacher or known_licence(recipe.teacher or "")
        said = licence or "not stated"
        facts.append(
            f"**Teacher**: {teacher_name(record)}, licence of its weights: {said};"
            f" weights' SHA-256 `{record.teacher.weights_sha256[:16]}…`."
        )
    facts.extend(_methods(recipe.method))
    facts.append(f"**Seed**: {recipe.seed}, {record.steps:,} updates.")
    fields = {
        name: value
        for name, value in recipe.model_dump(mode="json").items()
        if name not in PLACES | TOLD and value is not None and value not in ([], {}, "")
    }
    facts.append(
        "**Recipe**: " + ", ".join(f"{name} {_text(each)}" for name, each in fields.items())
    )
    return "\n".join(f"- {fact}" for fact in facts)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _methods(text: str) -> Iterable[str]:
    """A line for each method in a name: what it does, its formula and its paper."""
    for part in parse(text):
        method = METHODS.get(part.name)
        if method is None:
            yield f"**Method** `{public_method(part.name)}`: a loss of its authors' own."
            continue
        paper = f" ({method.paper})" if method.paper else ""
        formula = formula_of(method.loss.__doc__ or "")
        shown = f" $${formula}$$" if formula and part.name != ALONE else ""
        yield f"**Method** `{part.name}`: {method.summary.rstrip('.')}{paper}.{shown}"


def formula_of(docstring: str) -> str:
    """The first formula of a loss's docstring, as LaTeX; empty where it has none.

    Example:
        >>> formula_of("Soft targets.\\n\\n    .. math:: a + b\\n\\n    Text.")
        'a + b'
    """
    block = re.search(r"\.\. math::(.*?)(?:\n\s*\n|\Z)", docstring, re.DOTALL)
    inline = re.search(r":math:`(.*?)`", docstring, re.DOTALL)
    found = block or inline
    return " ".join(found[1].split()) if found else ""


def known_licence(teacher: str) -> str | None:
    """What timm knows of the licence of its own published weights; ``None`` of all others."""
    if not (teacher.startswith("timm/") and teacher.endswith(":pretrained")):
        return None
    with suppress(ImportError):
        import timm

        name = teacher.removeprefix("timm/").removesuffix(":pretrained")
        return getattr(timm.get_pretrained_cfg(name), "license", None)
    return None


def _licence(record: Record, licences: Licences) -> str:
    own = (
        f"The weights are given under {licences.own}."
        if licences.own
        else "No licence was stated for these weights: ask who published them before you use them."
    )
    taught = ""
    if record.teacher is not None:
        taught = (
            " They were learnt from a teacher's outputs and from images, whose licences may bind"
            " what is done with them."
        )
    return f"{own} {OWNED}{taught}"


def _metadata(
    source: Source, manifest: Manifest | None, licences: Licences, summary: Summary
) -> str:
    """The YAML on top, by the hub's own library."""
    try:
        from huggingface_hub import EvalResult, ModelCardData
    except ImportError as error:
        raise Fault("a model card needs huggingface_hub: pip install relatum[hub]") from error
    record = source.record
    assert record is not None
    tasks = {"logits": "image-classification", "embedding": "image-feature-extraction"}
    top1, dataset = _top1(summary, record), public(record.recipe.dataset)
    result = EvalResult(
        task_type="image-classification",
        dataset_type=ON_HUB.get(record.recipe.dataset, re.sub(r"[^\w./-]", "-", dataset)),
        dataset_name=dataset,
        dataset_split="test",
        metric_type="accuracy",
        metric_name=f"top-1 accuracy, {counted(_seeds(summary, record), 'seed')}",
        metric_value=top1,
    )
    timm = manifest is not None and "timm" in manifest.files
    linked = ON_HUB.get(record.recipe.dataset)
    data = ModelCardData(
        license=licences.own,
        library_name="timm" if timm else "relatum",
        pipeline_tag=tasks.get(source.taught),
        tags=_tags(record),
        datasets=[linked] if linked else None,
        metrics=["accuracy"] if top1 is not None else None,
        model_name=title(record),
        eval_results=[result] if top1 is not None else None,
    )
    return str(data.to_yaml()).strip()


def _tags(record: Record) -> Sequence[str]:
    methods = [part.name for part in parse(record.recipe.method) if part.name in METHODS]
    taught = ["knowledge-distillation"] if record.teacher is not None else []
    return ["relatum", *taught, *(each for each in methods if each != ALONE)]


def _top1(summary: Summary, record: Record) -> float | None:
    """The mean over the seeds, in percent."""
    line = next((each for each in summary.lines if each.label == record.label), None)
    if line is None or TOP1.name not in line.metrics:
        return None
    return round(line.metrics[TOP1.name].mean, 2)


def _seeds(summary: Summary, record: Record) -> int:
    line = next((each for each in summary.lines if each.label == record.label), None)
    return 1 if line is None else line.n
