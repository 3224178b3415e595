"""``relatum reproduce``: a paper's experiment, as its authors ran it or on equal terms."""

from pathlib import Path
from typing import Annotated

import typer

from relatum.cli import options


def reproduce(
    experiment: Annotated[str, typer.Argument(help="Its name (relatum list recipes).")],
    variant: Annotated[
        str, typer.Option(help="authors (with their faults) or fair (mended, on equal terms).")
    ] = "fair",
    seeds: options.Seeds = None,
    seed: options.Seed = None,
    scale: options.Scale = 1.0,
    out: options.Out = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    device: options.Device = "auto",
) -> None:
    """Run a paper's experiment, and print what was published beside what is measured."""
    from relatum.bench import rehearsed, run_plan
    from relatum.bench.experiment import claim
    from relatum.bench.rehearsal import rehearse
    from relatum.checkpoint import stop_on_signals
    from relatum.cli.display import shown
    from relatum.recipes.rrkd import REPRODUCTIONS
    from relatum.report.page import write_reports
    from relatum.report.reproduction import markdown
    from relatum.spelling import unknown
    from relatum.types import Fault
    from relatum.weights import write

    if experiment not in REPRODUCTIONS:
        raise Fault(unknown("experiment", experiment, REPRODUCTIONS))
    if variant not in ("authors", "fair"):
        raise Fault(f"--variant is authors or fair, got {variant!r}")
    known = REPRODUCTIONS[experiment]
    numbers = options.seeds_of(seeds, seed, known.seeds)
    plan = known.plan("authors" if variant == "authors" else "fair", numbers).scaled(scale)
    if data_root is not None:
        plan = plan.at(str(data_root))
    folder = out or Path("runs") / f"{experiment.replace('/', '-')}-{variant}"
    place = options.device_of(device)
    claim(folder, resume or overwrite, False)
    first = rehearsed(plan, folder)
    rehearse(first, folder, device=place, download=download, afresh=overwrite)
    claim(folder, resume, overwrite)
    with stop_on_signals() as stop, shown(plan.runs) as display:
        records, failures = run_plan(
            plan, folder, device=place, download=download, stop=stop, display=display
        )
    text = markdown(plan, records, [f"{each.cell.folder}: {each.reason}" for each in failures])
    write(folder / "table.md", text.encode())
    typer.echo(text)
    typer.echo(f"table: {folder / 'table.md'}\nreport: {write_reports(folder)}")
    if failures:
        raise Fault(f"{len(failures)} runs failed; {failures[0].reason}")
