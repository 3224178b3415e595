"""``relatum distill``: a teacher, a student alone, and the same student distilled."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from relatum.cli import options, profiling, runs, tracking, training

if TYPE_CHECKING:
    from relatum.bench import Failure
    from relatum.record import Record


def distill(
    context: typer.Context,
    dataset: options.Dataset = None,
    data: options.DatasetToo = None,
    teacher: options.Teacher = None,
    student: options.Student = None,
    method: options.Method = None,
    baseline: options.Baseline = True,
    labels: options.Labels = True,
    seeds: options.Seeds = None,
    seed: options.Seed = None,
    epochs: options.Epochs = None,
    samples: options.Samples = None,
    scale: options.Scale = 1.0,
    balance: options.Balance = None,
    recipe: options.RecipeFile = None,
    set_: options.Set = None,
    out: options.Out = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    data_root: options.DataRoot = None,
    skip_broken: options.SkipBroken = False,
    download: options.Download = False,
    device: options.Device = "auto",
    speed: options.Speed = None,
    precision: options.Precision = None,
    batch: options.Batch = None,
    microbatch: options.Microbatch = None,
    sync_batchnorm: options.SyncBatchnorm = False,
    cache: options.Cache = None,
    patience: options.Patience = options.PATIENCE,
    track: tracking.Track = None,
    profile: profiling.Profile = False,
    profile_steps: profiling.Steps = None,
) -> None:
    """Distil a student from a teacher with several methods, side by side with the student alone.

    Without options: scikit-learn's digits, a teacher trained first, the methods kd, sp, rrkd
    and rrd, and three seeds; a table and a report at the end. Started by torchrun, all processes
    train each student together, as one would.
    """
    asked = runs.Asked.of(locals())
    place = options.device_of(device)
    with profiling.profiling(profile, profile_steps), training.company(place, patience) as company:
        folder = asked.folder
        company.check_place(folder, resume, overwrite)
        cells = runs.cells_of(asked)
        if asked.usual:
            cells = runs.able(cells, folder, place, download)
        cells = tracking.logged(cells, track)
        records, failures = training.train(
            cells, folder, company, place, resume=resume, overwrite=overwrite, download=download
        )
    if company.first:
        conclude(folder, records, failures)


def conclude(folder: Path, records: "list[Record]", failures: "list[Failure]") -> None:
    """The table, the report's place, and a word on what failed."""
    from rich.console import Console

    from relatum.report.page import write_reports
    from relatum.report.table import summarise
    from relatum.types import Fault

    if records:
        console = Console()
        console.print(summarise(records).rich(), crop=False)
        console.print(f"report: {write_reports(folder)}", highlight=False, soft_wrap=True)
    if failures:
        first = failures[0]
        raise Fault(
            f"{len(failures)} of {len(failures) + len(records)} runs failed;"
            f" {first.cell.folder}: {first.reason}"
        )
