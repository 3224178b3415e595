"""Write docs/methods.md: every method, read off the code, so that it cannot say otherwise.

python docs/make_methods.py
"""

from pathlib import Path

from relatum.methods import METHODS
from relatum.methods.needs import needs

PAGE = Path(__file__).with_name("methods.md")
HEAD = """# Methods

Every method by its name on the command line: what it is and at which weight, what it reads of
both networks, what it needs besides (labels of its own, the samples' indices, heads that learn, a
memory of earlier batches, the teacher's classifier, more than one stage), and whether it is
**relational**: whether it compares samples with each other, so that its value depends on the
whole batch and relatum hands it the batch of all processes.

With labels cross-entropy at weight 1 stands beside every method unless its line says otherwise;
without labels it goes, and methods that need labels are refused. `relatum list methods NAME`
shows the formula, and how the code differs from the authors'. Methods are joined by `+`, weighed
by `=` and placed by `@`: `sp=3000+kd`, `at@stage1&stage2`.
"""
FAMILIES = {
    "task": "The student alone",
    "logits": "On the logits",
    "embedding": "On the embedding",
    "maps": "On feature maps",
}


def page() -> str:
    """The page, a table for each family, the oldest method first."""
    parts = [HEAD]
    for family, title in FAMILIES.items():
        parts += [f"## {title}\n", "| name | what | reads | needs | relational | source |"]
        parts.append("|---|---|---|---|---|---|")
        names = [name for name, method in METHODS.items() if method.family == family]
        parts += [_row(name) for name in sorted(names, key=lambda name: METHODS[name].year)]
        parts.append("")
    return "\n".join(parts)


def _row(name: str) -> str:
    method, asks = METHODS[name], needs(name)
    relational = "yes" if asks.relational else ""
    summary = method.summary.replace("|", "\\|")
    cells = (f"`{name}`", summary, ", ".join(asks.reads), asks.words, relational, method.paper)
    return f"| {' | '.join(cells)} |".replace("  ", " ")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
