"""``relatum report``: make the page of a run, or of a folder of runs, again."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[Path, typer.Argument(help="A run's folder, or one with runs in it.")],
) -> None:
    """Print the table of finished runs and write their report.html."""
    from rich.console import Console

    from relatum.record import find
    from relatum.report.page import write_reports
    from relatum.report.table import summarise

    records = [record for _, record in find(folder)]
    console = Console()
    console.print(summarise(records).rich())
    console.print(f"report: {write_reports(folder)}", highlight=False, soft_wrap=True)
