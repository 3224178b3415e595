"""A page for every method, from its code, the losses' docstrings and what was measured."""

import re
from collections.abc import Iterator
from doctest import DocTestParser, Example
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import nn

from relatum import losses
from relatum.cli.known import known
from relatum.methods import METHODS, TASK, Method, Setting, Stage
from relatum.methods.example import example
from website import numbers, reference
from website.docstrings import defaults, heading, told
from website.markdown import block, table

FAMILIES = {
    "task": "The student alone",
    "logits": "On the logits",
    "embedding": "On the embedding",
    "maps": "On feature maps",
}
PAIR = "--teacher resnet14 --student resnet8"
"""What every method can serve: the networks that ``relatum.methods.example`` has."""
RELATIONAL = {
    True: "yes: it compares samples with each other, so it gets the batch of all processes",
    False: "no: every sample counts by itself",
}
LINKS = (
    (re.compile(r"arXiv (\d{4}\.\d{4,5})"), r"[arXiv \1](https://arxiv.org/abs/\1)"),
    (re.compile(r"DOI (10\.\S+?)(?=[,;)]|$)"), r"[DOI \1](https://doi.org/\1)"),
)


def pages() -> Iterator[tuple[str, str]]:
    """The place of each page and its text."""
    for name in METHODS:
        yield f"methods/{name}.md", page(name)


def families() -> dict[str, list[str]]:
    """The methods of each family, the oldest first."""
    return {
        title: sorted(
            (name for name in METHODS if METHODS[name].family == family),
            key=lambda name: METHODS[name].year,
        )
        for family, title in FAMILIES.items()
    }


def page(name: str) -> str:
    """What a method is, what it needs, how it is used, what it costs and what it gave."""
    method = METHODS[name]
    parts = [
        f"# {name}",
        f"**{_sentence(heading(import_module(method.loss.__module__)))}**",
        method.summary,
        *_facts(name, method),
        *_about(method),
        *_try(name, method),
        *_terms(name, method),
        *_loss(method.loss),
        *numbers.cost(name),
        *numbers.measured(name),
        *numbers.published_results(name),
    ]
    return "\n\n".join(parts) + "\n"


def linked(paper: str) -> str:
    """A paper with its addresses to be followed.

    Example:
        >>> linked("Tung & Mori, ICCV 2019, arXiv 1907.09682")
        'Tung & Mori, ICCV 2019, [arXiv 1907.09682](https://arxiv.org/abs/1907.09682)'
    """
    for pattern, link in LINKS:
        paper = pattern.sub(link, paper)
    return paper


def _facts(name: str, method: Method) -> Iterator[str]:
    asks = known()["methods"][name]
    rows = {
        "paper": linked(method.paper),
        "first published": str(method.year),
        "compares": FAMILIES[method.family].removeprefix("On ").lower(),
        "reads": ", ".join(f"`{tap}`" for tap in asks["reads"]),
        "needs besides": asks["needs"],
        "relational": RELATIONAL[asks["relational"]],
    }
    yield table(["", ""], [[key, value] for key, value in rows.items() if value])


def _about(method: Method) -> Iterator[str]:
    _, _, rest = (method.build.__doc__ or "").strip().partition("\n")
    if rest.strip():
        yield "\n".join(line.strip() for line in rest.strip().splitlines())


def _try(name: str, method: Method) -> Iterator[str]:
    yield "## Try it"
    yield block("sh", f"relatum distill {PAIR} --method {name}")
    if method.family != "task":
        yield (
            "Two small networks on scikit-learn's digits, beside the student alone: minutes on a"
            " CPU. `--data` names your own images."
        )
    if example := example_of(method.loss):
        yield "In a loop of your own:"
        yield block("python", example)


def example_of(loss: type) -> str:
    """The example of a loss's docstring as a program, or nothing where it has none."""
    typed = DocTestParser().get_examples(told(loss).example)
    lines = [_printed(each) if each.want else each.source.rstrip() for each in typed]
    own = [line for line in lines if not line.startswith(("import ", "from "))]
    theirs = {line for line in lines if line.startswith(("import ", "from "))}
    names = [name for name in losses.__all__ if re.search(rf"\b{name}\b", "\n".join(own))]
    theirs |= {"import torch"} | {"from torch import nn" for line in own if "nn." in line}
    theirs.add(f"from relatum.losses import {', '.join(names)}")
    return "\n".join([*sorted(theirs, key=lambda line: "relatum" in line), "", *own]) if own else ""


def _printed(example: Example) -> str:
    source = example.source.partition("  # doctest:")[0].rstrip()
    return f"print({source})"


def _terms(name: str, method: Method) -> Iterator[str]:
    yield "## What is added up"
    yield (
        "Its terms as they are built for resnet14 → resnet8 and a set with labels. Without labels"
        f" the term `{TASK}` goes."
    )
    stages = built(name)
    rows = [
        [
            *([f"{number}, {stage.share:g} of the epochs"] if len(stages) > 1 else []),
            f"`{key}`",
            class_link(type(term.loss)),
            _taps(term.on, term.teacher_on),
            _weight(term.weight),
        ]
        for number, stage in enumerate(stages, start=1)
        for key, term in stage.objective.terms.items()
    ]
    head = ["term", "loss", "reads", "weight"]
    yield table([*(["stage"] if len(stages) > 1 else []), *head], rows)


def _loss(loss: type[nn.Module]) -> Iterator[str]:
    yield f"## The loss: {class_link(loss)}"
    yield from _told(loss)
    for part in _parts(loss):
        yield f"### With it: {class_link(part)}"
        yield from _told(part)


def _parts(loss: type[nn.Module]) -> list[type[nn.Module]]:
    """The other losses of its file that are no method by themselves."""
    methods = {method.loss for method in METHODS.values()}
    public = [getattr(losses, name) for name in losses.__all__]
    return [each for each in public if each.__module__ == loss.__module__ and each not in methods]


def _told(loss: type[nn.Module]) -> Iterator[str]:
    said = told(loss)
    yield said.text
    if defaults(loss):
        rows = [
            [f"`{name}`", f"`{default}`" if default else "must be given", said.arguments[name]]
            for name, default in defaults(loss).items()
            if name in said.arguments
        ]
        yield table(["setting", "default", "what it is"], rows)


def class_link(loss: type) -> str:
    """A loss, and the way to its page of the reference."""
    place = reference.place_of(loss)
    name = f"`{loss.__name__}`"
    return name if place is None else f"[{name}](../{place})"


def _taps(on: Any, teacher_on: Any) -> str:
    words = ["logits" if tap == "output" else tap for tap in _listed(on)]
    theirs = ["logits" if tap == "output" else tap for tap in _listed(teacher_on)]
    said = ", ".join(f"`{word}`" for word in words)
    if theirs and theirs != words:
        said += " of the student, " + ", ".join(f"`{word}`" for word in theirs) + " of the teacher"
    return said


def _listed(taps: Any) -> list[str]:
    return [] if taps is None else [taps] if isinstance(taps, str) else list(taps)


def _weight(weight: Any) -> str:
    return f"{weight:,g}" if isinstance(weight, int | float) else "changes as training goes on"


def _sentence(text: str) -> str:
    return f"{text}."


@cache
def _setting() -> Setting:
    torch.set_num_threads(1)  # what more gain on so small a pair, they lose by waiting
    return example()


def built(name: str) -> tuple[Stage, ...]:
    """Its stages for the pair of ``relatum.methods.example``."""
    method = METHODS[name]
    if method.adopt is not None:
        method.adopt(_setting())
    return method(_setting())
