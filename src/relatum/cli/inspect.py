"""``relatum inspect``: what a network is, and where it can be read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relatum.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from relatum.inspection import Inspection


def inspect(
    model: Annotated[
        str,
        typer.Argument(
            help="A model's name, a run's folder, a file of weights, or MODEL@FILE: all that"
            " --student and --teacher take."
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option("--data", help="The set whose channels, size and classes it is built for."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Pixels a side. [default: the model's own, or 64]")
    ] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="Of the images. [default: 3]")] = None,
    classes: Annotated[
        int | None, typer.Option(min=0, help="To tell apart. [default: the weights', or 10]")
    ] = None,
    modules: Annotated[
        bool, typer.Option("--modules", help="Also list every submodule, and what leaves it.")
    ] = False,
    data_root: options.DataRoot = None,
    download: options.Download = False,
) -> None:
    """Show a network's taps, its input, its size and its work; nothing is trained or written.

    Any tap, and any module by its path, is named behind '@' in --method: sp@stage2, or
    sp@layer2:blocks.5 for the student's place and the teacher's.
    """
    from rich.console import Console

    from relatum.inspection import inspect_model

    console = Console(soft_wrap=True)
    seen = inspect_model(
        model,
        data=data,
        size=size,
        channels=channels,
        classes=classes,
        data_root=Path(data_root) if data_root else None,
        download=download,
    )
    for name, text in seen.facts.items():
        console.print(f"{name:<12}  {text}", highlight=False, markup=False)
    console.print()
    _print(console.print, _taps(seen), console.is_terminal)
    if modules:
        console.print()
        _print(console.print, _modules(seen), console.is_terminal)


def _print(say: object, table: "Table", terminal: bool) -> None:
    """A table on a terminal, and plain columns where another program reads."""
    assert callable(say)
    if terminal:
        say(table)
        return
    heads = [str(column.header) for column in table.columns]
    rows = list(zip(*(map(str, column.cells) for column in table.columns), strict=True))
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        say("  ".join(cells).rstrip(), highlight=False, markup=False)


def _taps(seen: "Inspection") -> "Table":
    return _table(("tap", "place", "shape", "what it is"), seen.taps)


def _modules(seen: "Inspection") -> "Table":
    return _table(("module", "kind", "shape"), seen.modules)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(*heads, box=box.SIMPLE)
    for row in rows:
        table.add_row(*row)
    return table
