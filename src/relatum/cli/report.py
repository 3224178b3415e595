"""``relatum report``: make the page of a run, or of a folder of runs, again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from relatum.bench.grid import Grid
    from relatum.record import Record
    from relatum.report.provenance import Runs


def report(
    folder: Annotated[Path, typer.Argument(help="A run's folder, or one with runs in it.")],
    latency: Annotated[
        bool,
        typer.Option("--latency", help="First time students and teachers, for half a minute each."),
    ] = False,
) -> None:
    """Print the table of finished runs and write their report.html."""
    if latency:
        _time(folder)
    from relatum.bench.grid import Grid

    # A pair's page is the benchmark's to write: the student alone lies outside the pair's folder.
    homes = (folder, folder.parent) if "--" in folder.name else (folder,)
    for home in homes:
        if (grid := Grid.load(home)) is not None:
            return report_benchmark(home, grid)
    return _report_runs(folder)


def _time(folder: Path) -> None:
    """Measure the networks of the runs in a folder, where their pages find it, and print it."""
    from rich.console import Console

    from relatum.export.costs import measure_runs
    from relatum.record import find
    from relatum.report.cost_table import lines_of_costs, terminal

    runs = find(folder)
    done, notes = measure_runs(runs)
    for note in notes:
        typer.echo(note, err=True)
    typer.echo(f"timed: the networks of {len(done)} run{'s' * (len(done) != 1)}")
    for pair in _pairs(runs):
        Console().print(terminal(lines_of_costs(pair)), crop=False)


def _pairs(runs: "Runs") -> "list[Runs]":
    """The runs of each teacher with each student; others where no such pair tells of them."""
    pairs: dict[tuple[str, str], list[tuple[Path, Record]]] = {}
    for path, record in runs:
        pair = record.recipe.student, record.teacher.name if record.teacher else ""
        pairs.setdefault(pair, []).append((path, record))
    told = {name for pair in pairs if pair[1] for name in pair}
    return [held for (student, teacher), held in pairs.items() if teacher or student not in told]


def _report_runs(folder: Path) -> None:
    from rich.console import Console

    from relatum.record import find
    from relatum.report.page import write_reports
    from relatum.report.table import summarise

    places, records = zip(*find(folder), strict=True)
    console = Console()
    console.print(summarise(records, places).rich(), crop=False)
    console.print(f"report: {write_reports(folder)}", highlight=False, soft_wrap=True)


def report_benchmark(folder: Path, grid: "Grid") -> None:
    """The tables and the page of a benchmark, as far as it is.

    Raises:
        Fault: no run of it has finished.
    """
    from rich.console import Console

    from relatum.bench.grid import TEACHER
    from relatum.record import find, unfinished
    from relatum.report.standings import tables
    from relatum.report.standings_page import write_benchmark
    from relatum.report.standings_text import terminal
    from relatum.types import Fault

    runs = find(folder)
    if all(record.label == TEACHER for _, record in runs):
        raise Fault(
            f"no student of the benchmark in {folder} has finished yet; go on with the same"
            " 'relatum bench' and --resume"
        )
    found = tables(
        [record for _, record in runs],
        [each for _, each in unfinished(folder)],
        grid.baseline,
        pairs=grid.pairs,
        labels=grid.methods,
        seeds=grid.seeds,
    )
    console = Console()
    for table in terminal(*found):
        console.print(table, crop=False)
    if (pages := sum(len(each.pairs) for each in found)) > 1:
        console.print(f"drawing {pages} pages, seconds each where runs are new", style="dim")
    page = write_benchmark(folder, runs, found)
    words = f"tables: {folder / 'table.md'}, .csv and .tex\nreport: {page}"
    console.print(words, highlight=False, soft_wrap=True)
