"""``relatum bench``: many pairs, methods and seeds as one job that can be gone on with."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relatum.cli import options, places, tracking

if TYPE_CHECKING:
    from relatum.bench import Cell
    from relatum.bench.grid import Grid
    from relatum.bench.pool import Pool
    from relatum.bench.progress import Progress
    from relatum.bench.rehearsal import Unable

ELSEWHERE = {
    "dataset": "the argument DATASET",
    "student": "--pairs",
    "teacher": "--pairs and --teachers",
    "method": "--methods",
    "seed": "--seeds",
    "scale": "--scale",
    "samples": "--samples",
}
"""Fields of the recipe that the grid itself fills in, and by which option."""


def bench(
    dataset: options.Dataset = None,
    data: options.DatasetToo = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            help="TEACHER:STUDENT, joined by commas, or 'all' for the thirteen of the CIFAR-100"
            " benchmark. [default: the set's own pair]"
        ),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            "--method",
            help="As --method of 'distill'; 'none' is the student alone, 'all' is every method.",
        ),
    ] = "none,kd,sp,rrkd,rrd",
    seeds: options.Seeds = None,
    seed: options.Seed = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Of the students; teachers keep theirs. [default: the set's]"),
    ] = None,
    batch: options.Batch = None,
    scale: options.Scale = 1.0,
    samples: options.Samples = None,
    teachers: Annotated[
        str | None,
        typer.Option(
            help="Teachers that are trained already: MODEL=PATH, joined by commas; a run's folder"
            " or a file of weights. The others are trained first, once each."
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="The method that the others are tested against. [default: none, or the first]"
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            help="Cells that run at once, each in a process of its own with its share of the"
            " processors; with --ray, on every GPU of the cluster, or on every processor where"
            " they run on processors."
        ),
    ] = 1,
    together: Annotated[
        int,
        typer.Option(
            help="Cells that each worker trains beside each other, where they have seed, set and"
            " teacher in common: every batch is cut once and the teacher runs once for all of them."
            " The numbers stay the same; memory holds so many students.",
        ),
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Run on a Ray cluster: its address, 'auto', or 'local' for one of this machine"
            " (pip install 'relatum[ray]'). --out and --data-root must lie on storage that all its"
            " nodes share."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a field of the students' recipe: key=value. May be repeated. Teachers"
            " keep their schedule; --scale shortens both.",
        ),
    ] = None,
    out: options.Out = None,
    resume: options.Resume = False,
    data_root: options.DataRoot = None,
    skip_broken: options.SkipBroken = False,
    download: options.Download = False,
    device: options.Device = "auto",
    speed: options.Speed = None,
    precision: options.Precision = None,
    cache: options.Cache = None,
    track: tracking.Track = None,
) -> None:
    """Compare methods over pairs of networks and seeds, and write one table with all of them.

    Every cell is a run in a folder of its own, with its record: what is done is not done again.
    Killed, stopped or failed, the same command with --resume goes on where it was, to the same
    numbers. A method that cannot serve a pair is refused before anything is trained; a cell that
    fails is reported, stops no other, and is tried again by the next --resume; one whose process
    somebody else stops goes on in another. Exit code 1 says that cells failed.
    """
    from relatum.faults import Fault

    named = options.dataset_of(dataset, data)
    if named is None:
        raise Fault("name a set: relatum bench DATASET (relatum list datasets)")
    from relatum.bench.experiment import of_one_size
    from relatum.bench.grid import Grid, given_of, pairs_of

    if together < 1:
        raise Fault(f"--together is at least 1, got {together}")
    shared = {
        "data_root": str(data_root) if data_root else None,
        "skip_broken": skip_broken or None,
        "samples": samples,
        "epochs": epochs,
        "batch_size": batch,
        "speed": speed,
        "precision": precision,
        "cache": None if cache is None else str(cache),
    }
    shared = {name: value for name, value in shared.items() if value is not None}
    known = _methods(methods)
    grid = Grid(
        dataset=named,
        pairs=pairs_of(pairs, named),
        methods=known,
        seeds=options.seeds_of(seeds, seed, (0, 1, 2)),
        scale=scale,
        given=given_of(teachers),
        changes=shared | options.changes_of(set_, ELSEWHERE),
        baseline=_baseline(baseline, known),
    )
    folder = out or places.of_set(named, "bench-")
    cells = tuple(tracking.logged(of_one_size(grid.cells(folder)), track))
    _claim(folder, named, resume, {cell.folder for cell in cells})
    pool = partial(_pool, workers, ray, device, together)
    progress = _run(grid, cells, folder, pool, download, together)
    _conclude(folder, grid, progress)


def _methods(text: str) -> tuple[str, ...]:
    from relatum.grammar import check_own, split
    from relatum.methods import METHODS

    if text != "all":
        names = tuple(split(text))
        for name in names:
            check_own(name)
        return names
    # what is of the family "task" beside "none" is no distillation, but transfer
    return tuple(name for name, each in METHODS.items() if name == "none" or each.family != "task")


def _baseline(wanted: str | None, methods: tuple[str, ...]) -> str:
    from relatum.types import Fault

    if wanted is None:
        return "none" if "none" in methods else methods[0]
    if wanted not in methods:
        raise Fault(f"--baseline {wanted} is none of the methods, {', '.join(methods)}")
    return wanted


def _claim(folder: Path, dataset: str, resume: bool, cells: set[str]) -> None:
    """Make sure that a folder is a benchmark's to write in, and that somebody said so.

    Runs whose benchmark nobody remembers may be gone on with where all are of its cells.
    """
    from relatum.bench.grid import Grid
    from relatum.run.claim import RECIPE
    from relatum.types import Fault

    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir():
        raise Fault(f"{there} is a file; choose another --out")
    before = Grid.load(folder)
    if before is not None and not resume:
        raise Fault(
            f"{folder} holds a benchmark already; go on with --resume, or choose another --out"
        )
    if before is not None and before.dataset != dataset:
        raise Fault(f"{folder} holds a benchmark on {before.dataset}; choose another --out")
    runs = {str(path.parent.relative_to(folder)) for path in folder.rglob(RECIPE)}
    if before is None and runs and not (resume and runs <= cells):
        raise Fault(f"{folder} holds runs of something else; choose another --out")


def _pool(workers: int, ray: str | None, device: str, together: int) -> "Pool":
    from relatum.bench.cluster import Cluster
    from relatum.bench.workers import Processes

    if ray is not None:
        return Cluster(ray, device, workers)
    return Processes(workers, options.device_of(device), together)


def _run(
    grid: "Grid",
    cells: "tuple[Cell, ...]",
    folder: Path,
    pool_of: "Callable[[], Pool]",
    download: bool,
    together: int,
) -> "Progress":
    from contextlib import closing

    from relatum.bench.progress import Progress
    from relatum.bench.rehearsal import rehearse_grid
    from relatum.bench.schedule import finished, run_grid
    from relatum.checkpoint import stop_on_signals
    from relatum.cli.board import shown

    before = finished(cells, folder)
    wanted = [cell for cell in cells if cell.folder not in before]
    if not wanted:
        grid.save(folder)
        return Progress(len(cells), done=len(cells))
    # Ray has a handler for SIGTERM of its own, so ours comes after it.
    with closing(pool_of()) as pool, stop_on_signals() as stop, shown() as board:
        unable = rehearse_grid(wanted, folder, pool, stop, download=download, tell=board.build)
        grid.save(folder)
        board.note(f"{len(before)} of {len(cells)} cells are done, {len(wanted)} are to do")
        for line in _refusals(wanted, unable):
            board.note(line)
        return run_grid(
            cells, folder, pool, stop, board, before=before, unable=unable, together=together
        )


def _refusals(cells: "list[Cell]", unable: "dict[str, Unable]") -> list[str]:
    """What is refused, a line for all seeds."""
    lines = (
        f"refused: {cell.label} for {cell.teacher}:{cell.recipe.student}: {why.reason}"
        for cell in cells
        if (why := unable.get(cell.folder)) is not None and why.kind == "refused"
    )
    return list(dict.fromkeys(lines))


def _conclude(folder: Path, grid: "Grid", progress: "Progress") -> None:
    """The table, where it lies, and a word on what failed."""
    from relatum.cli.report import report_benchmark
    from relatum.types import Fault

    try:
        report_benchmark(folder, grid)
    except Fault as fault:
        if not (progress.failed or progress.refused):
            raise
        typer.echo(f"no table: {fault}", err=True)  # what failed matters more than that
    if progress.failed:
        failed = f"{progress.failed} of {progress.total} cells failed"
        typer.echo(f"{failed}; mend what their lines say, and try them again by --resume", err=True)
        raise typer.Exit(1)
