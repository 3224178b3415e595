"""Imports point down: a file of the package imports only from its own layer and those before it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import relatum

PACKAGE = Path(relatum.__file__).parent
ORDER = [
    *["faults", "how_far", "spelling", "method_names", "table_names", "teacher_names"],
    *[
        "types",
        "views",
        "imports",
        "precision",
        "blocks",
        "relations",
        "divergences",
        "memory",
        "world",
        "free_memory",
    ],
    *["profiling", "together", "last_words", "launch", "taps", "folding", "sharding"],
    *["discovery", "speed"],
    *[
        "schedules",
        "models",
        "data",
        "datasets",
        "losses",
        "objective",
        "any_teacher",
        "teachers",
        "tables",
    ],
    *["several", "distiller"],
    *[
        "accumulate",
        "tally",
        "replay",
        "gradient_norms",
        "balance",
        "fit",
        "evaluate",
        "foreign_weights",
        "weights",
        "checkpoint",
        "cache",
        "methods",
        "grammar",
        "recipes",
        "json_file",
        "record",
        "cost_file",
        "trackers",
        "run",
        "inspection",
        "bench",
        "report",
    ],
    *["tune", "doctor", "export", "integrations"],
]
ABOVE = {"__init__", "__main__", "cli"}
# Within the order, and still none of their business: a loss sees tensors, a report never trains.
FORBIDDEN = {
    "losses": {"models", "data", "datasets", "taps"},
    "report": {"distiller", "fit", "run"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def layer(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(file: Path) -> Iterator[str]:
    """Every layer that a file imports from, at its top or inside a function."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: write the whole path, relatum.…"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
        for name in names:
            if name == "relatum" or name.startswith("relatum."):
                yield [*name.split("."), ""][1]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_down(file: Path) -> None:
    here = layer(file)
    if here in ABOVE:
        return
    assert here in ORDER, f"give {here!r} its place in ORDER"
    allowed = set(ORDER[: ORDER.index(here) + 1]) - FORBIDDEN.get(here, set())
    assert set(imported(file)) <= allowed


def test_every_import_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(
        "import torch\nimport relatum.run\nfrom relatum import fit\n"
        "def late():\n    from relatum.losses.sp import SP\n"
    )
    assert set(imported(file)) == {"run", "fit", "losses"}
    assert len(FILES) > 5
