"""Write what is read off the code, so that it cannot say otherwise: every method, network, recipe.

python docs/make_methods.py

That is docs/methods.md, and names.json, from which ``relatum list`` answers without torch.
"""

import inspect
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from relatum.cli.known import FILE
from relatum.evaluate import parameters
from relatum.methods import METHODS
from relatum.methods.needs import defaults, needs
from relatum.models import MODELS, create
from relatum.recipes.benchmark import ALIKE, PAIRS
from relatum.recipes.rrkd import REPRODUCTIONS
from relatum.recipes.standard import STANDARD
from relatum.recipes.transfer import transfer

PAGE = Path(__file__).with_name("methods.md")
HEAD = """# Methods

Every method by its name on the command line: what it is and at which weight, what it reads of
both networks, what it needs besides (labels of its own, the samples' indices, heads that learn, a
memory of earlier batches, the teacher's classifier, more than one stage), and whether it is
**relational**: whether it compares samples with each other, so that its value depends on the
whole batch and relatum hands it the batch of all processes.

With labels cross-entropy at weight 1 stands beside every method unless its line says otherwise;
without labels it goes, and methods that need labels are refused. `relatum list methods NAME`
shows the formula, how the code differs from the authors', and the loss's options. Methods are
joined by `+`, weighed by `=`, placed by `@` and changed in brackets: `sp=3000+kd`,
`at@stage1&stage2`, `kd(temperature=2)`.
"""
FAMILIES = {
    "task": "The student alone",
    "logits": "On the logits",
    "embedding": "On the embedding",
    "maps": "On feature maps",
}


def names() -> dict[str, dict[str, Any]]:
    """What names.json holds."""
    return {
        "methods": {name: _method(name) for name in METHODS},
        "models": {name: _first_line(make) for name, make in MODELS.items()},
        "pairs": _pairs(),
        "recipes": {
            **{f"distill --data {name}": _first_line(make) for name, make in STANDARD.items()},
            "transfer RUN --to SET": _first_line(transfer),
            **{f"reproduce {name}": _first_line(each.plan) for name, each in REPRODUCTIONS.items()},
        },
    }


def text(found: dict[str, dict[str, Any]]) -> str:
    """As the file has it: a line for every name."""
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def page(methods: dict[str, dict[str, Any]] | None = None) -> str:
    """The page, a table for each family, the oldest method first."""
    methods = methods or {name: _method(name) for name in METHODS}
    parts = [HEAD]
    for family, title in FAMILIES.items():
        parts += [f"## {title}\n", "| name | what | reads | needs | relational | source |"]
        parts.append("|---|---|---|---|---|---|")
        own = {name: each for name, each in methods.items() if each["family"] == family}
        parts += [_row(name, own[name]) for name in sorted(own, key=lambda name: own[name]["year"])]
        parts.append("")
    return "\n".join(parts)


def _method(name: str) -> dict[str, Any]:
    method, asks, usual = METHODS[name], needs(name), defaults(name)
    return {
        "family": method.family,
        "year": method.year,
        "reads": list(asks.reads),
        "needs": asks.words,
        "relational": asks.relational,
        "options": {
            option: each.described(usual[option]) for option, each in method.options.items()
        },
        "paper": method.paper,
        "summary": method.summary,
        "about": plain(inspect.getdoc(method.build) or ""),
        "loss": plain(inspect.getdoc(method.loss) or ""),
    }


def plain(text: str) -> str:
    """A docstring for a terminal: without the marks of code and formulas, which stay LaTeX.

    Example:
        >>> plain("``eps``: as in\\n\\n.. math:: x + y\\n\\nat :math:`x`.")
        'eps: as in\\n\\n    x + y\\n\\nat x.'
    """
    text = re.sub(r"``([^`]+)``", r"\1", text)
    text = re.sub(r":\w+:`([^`]+)`", r"\1", text)
    text = re.sub(r"^\.\. math:: *\n+", "", text, flags=re.MULTILINE)
    return re.sub(r"^\.\. math:: *", "    ", text, flags=re.MULTILINE)


def _pairs() -> dict[str, str]:
    """Those of the benchmark: the sizes of both networks for CIFAR-100, and of what kind it is."""
    networks = {name for pair in PAIRS for name in pair}
    with torch.device("meta"):  # sizes alone, no weights are drawn
        made = {name: create(name, channels=3, size=32, classes=100) for name in networks}
    counts = {name: parameters(network) for name, network in made.items()}
    return {
        str(pair): f"{counts[pair.teacher]:>10,} to {counts[pair.student]:>9,} parameters, "
        + ("one architecture" if pair in ALIKE else "two architectures")
        for pair in PAIRS
    }


def _first_line(entry: Any) -> str:
    lines: Iterable[str] = (entry.__doc__ or "").strip().splitlines()
    return next(iter(lines), "")


def _row(name: str, method: dict[str, Any]) -> str:
    relational = "yes" if method["relational"] else ""
    summary = method["summary"].replace("|", "\\|")
    reads = ", ".join(method["reads"])
    cells = (f"`{name}`", summary, reads, method["needs"], relational, method["paper"])
    return f"| {' | '.join(cells)} |".replace("  ", " ")


if __name__ == "__main__":
    found = names()
    FILE.write_text(text(found), encoding="utf-8")
    PAGE.write_text(page(found["methods"]), encoding="utf-8")
