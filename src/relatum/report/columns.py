"""A table as columns of text, and how Markdown, LaTeX and a terminal show it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from relatum.report.words import MINUS, NOTHING

UNBOUND = 10_000
"""Characters, more than any table has."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table as text.

    Attributes:
        heading: its name; a line break in it is one where there is room for it.
        cells: one for each line, empty where there is nothing to say.
        left: whether it holds words.
        bold: the lines whose cells stand out.
    """

    heading: str
    cells: tuple[str, ...]
    left: bool = False
    bold: frozenset[int] = frozenset()


def markdown(columns: Sequence[Column]) -> str:
    """GitHub's Markdown.

    Example:
        >>> print(markdown([Column("method", ("a|b",), left=True), Column("%", ("1",))]))
        | method | % |
        | :-- | --: |
        | a\\|b | 1 |
    """
    table = [
        [markdown_text(column.heading) for column in columns],
        [":--" if column.left else "--:" for column in columns],
        *(_row(columns, index) for index in range(len(columns[0].cells))),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in table)


def _row(columns: Sequence[Column], index: int) -> list[str]:
    texts = [markdown_text(column.cells[index]) or NOTHING for column in columns]
    return [
        f"**{text}**" if index in column.bold and text != NOTHING else text
        for text, column in zip(texts, columns, strict=True)
    ]


def markdown_text(text: str) -> str:
    """Plain text, so that Markdown shows it as it is."""
    for special in "\\|*_`<>[]":
        text = text.replace(special, f"\\{special}")
    return text.replace("\n", " ")


def latex(columns: Sequence[Column], caption: str, notes: Sequence[str] = ()) -> str:
    """A floating table of LaTeX's, for the package booktabs.

    Args:
        columns: what it shows.
        caption: above it, as plain text.
        notes: below it, likewise.
    """
    sides = "".join("l" if column.left else "r" for column in columns)
    names = [column.heading.split("\n") for column in columns]
    deep = max(map(len, names))
    heads = [[""] * (deep - len(lines)) + lines for lines in names]
    rows = [
        " & ".join(_cell(column, index) for column in columns) + r" \\"
        for index in range(len(columns[0].cells))
    ]
    under = [rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize {_joined(notes)}}}"]
    return "\n".join(
        [
            r"\begin{table}[tbp]",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{latex_text(caption)}}}",
            rf"\begin{{tabular}}{{@{{}}{sides}@{{}}}}",
            r"\toprule",
            *(" & ".join(map(latex_text, row)) + r" \\" for row in zip(*heads, strict=True)),
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            *(under if notes else []),
            r"\end{table}",
        ]
    )


def _cell(column: Column, index: int) -> str:
    text = latex_text(column.cells[index]) or "--"
    return rf"\textbf{{{text}}}" if index in column.bold and text != "--" else text


def _joined(notes: Sequence[str]) -> str:
    return " ".join(latex_text(note) for note in notes)


_LATEX = {
    "\\": r"\textbackslash{}",
    **{special: f"\\{special}" for special in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "''",
    "\n": " ",
    MINUS: "$-$",
    NOTHING: "--",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "→": r"$\to$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "·": r"$\cdot$",
    "≤": r"$\leq$",
    "√": r"$\surd$",
    "…": r"\dots{}",
    "↓": r"$\downarrow$",
    "\N{NO-BREAK SPACE}": "~",
}


def latex_text(text: str) -> str:
    """Plain text, so that LaTeX shows it as it is.

    Example:
        >>> print(latex_text("a_b ± 5 %"))
        a\\_b $\\pm$ 5 \\%
    """
    return "".join(_LATEX.get(each, each) for each in text)


def terminal(columns: Sequence[Column], notes: Sequence[str] = (), title: str = "") -> "Shown":
    """A table for a terminal, which wraps words and never numbers.

    Args:
        columns: what it shows.
        notes: below it, as wide as the terminal.
        title: above it.
    """
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=Text(title) if title else None,
        title_justify="left",
        title_style="bold",
    )
    for column in columns:
        justify: Literal["left", "right"] = "left" if column.left else "right"
        words = [word for each in (column.heading, *column.cells) for word in each.split()]
        numbers = not column.left and any(" " in cell for cell in column.cells)
        whole = column.cells if numbers else ()
        table.add_column(
            Text(column.heading),
            justify=justify,
            no_wrap=numbers,
            min_width=max(map(len, (*words, *whole)), default=0),
        )
    for index in range(len(columns[0].cells)):
        table.add_row(*(_shown(column, index) for column in columns))
    return Shown(table, tuple(notes))


@dataclass(frozen=True, slots=True)
class Shown:
    """A table and what is said below it, as wide as the terminal.

    Where that is too narrow for the numbers, the table is wider than it: print it with
    ``crop=False``.
    """

    table: Table
    notes: tuple[str, ...]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """What rich prints."""
        least = Measurement.get(console, options.update(max_width=UNBOUND), self.table).minimum
        wide = options.update(max_width=max(least, options.max_width))
        yield from console.render(self.table, wide)  # type: ignore[misc]
        for note in self.notes:
            yield Text(note, "dim")


def _shown(column: Column, index: int) -> Text:
    return Text(column.cells[index] or NOTHING, "bold" if index in column.bold else "")
