"""``relatum doctor``: what would go wrong with a ``distill``, before it is begun."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relatum.cli import options, profiling, runs, tracking

if TYPE_CHECKING:
    import torch

    from relatum.doctor import Finding

LOOKS = {
    "ok": ("✓", "green"),
    "unseen": ("\N{EN DASH}", "dim"),
    "warning": ("!", "yellow"),
    "problem": ("✗", "bold red"),
}
"""How a finding is marked."""
Json = Annotated[
    Path | None, typer.Option("--json", help="Also write what was found into this file.")
]


def doctor(
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
    json: Json = None,
) -> None:
    """Look at what 'relatum distill' with the same options would do, in about a minute.

    The images, the teacher's accuracy on some of them, what each term reads and how hard it pulls,
    a few steps, and what it all takes in time, memory and room on the disk. Nothing is trained and
    no file written, but for --json. Exit code 2 says that there is a problem, and not only a
    warning. Options of how runs are begun and followed are taken, and change nothing here.
    """
    asked = runs.Asked.of(locals())
    if json is not None:
        _check_place(json)
    profiling.check(profile, profile_steps)
    place = options.device_of(device)
    findings = _said(_findings(asked, place, track, resume, overwrite))
    if json is not None:
        _keep(findings, json)
    if any(each.level == "problem" for each in findings):
        raise typer.Exit(2)


def _findings(
    asked: runs.Asked, device: "torch.device", track: str | None, resume: bool, overwrite: bool
) -> "Iterator[Finding]":
    """Take the place of training: look, and train nothing."""
    from relatum.doctor import Finding, examine, examine_folder, examine_versions
    from relatum.types import Fault

    yield examine_versions(device)
    try:
        cells = tracking.logged(runs.cells_of(asked), track)
    except Fault as fault:
        yield Finding("problem", "runs", f"none can be begun: {fault}")
        return
    if asked.usual:
        with suppress(Fault):  # what is in the way is found again, and said, where it is
            cells = runs.able(cells, asked.folder, device, asked.download)
    yield from examine_folder(cells, asked.folder, resume, overwrite)
    yield from examine(cells, asked.folder, device=device, download=asked.download)


def _said(findings: "Iterator[Finding]") -> "list[Finding]":
    """What is found, each said when it is found, and then how many."""
    from rich.console import Console

    from relatum.cli.reading import beside, by_itself
    from relatum.how_far import heard_by

    console = Console()
    found: list[Finding] = []
    with (
        console.status("looking …") as status,
        heard_by(beside(status) if console.is_terminal else by_itself),
    ):
        for each in findings:
            found.append(each)
            console.print(_line(each), soft_wrap=True)
    console.print(_verdict(found))
    return found


def _keep(findings: "list[Finding]", path: Path) -> None:
    """Write what was found."""
    from dataclasses import asdict

    from relatum.weights import write

    found = [asdict(each) for each in findings]
    write(path, json.dumps(found, indent=1, ensure_ascii=False).encode())


def _check_place(path: Path) -> None:
    """Refuse a file that cannot be written, before there is anything to write."""
    from relatum.faults import Fault

    if path.is_dir() or not path.name:
        raise Fault(f"--json wants a file to write, and {path} is a folder")
    near = next(each for each in path.absolute().parents if each.exists())
    try:
        with TemporaryFile(dir=near):  # rights alone do not say it: /proc takes no file of root's
            pass
    except OSError as error:
        raise Fault(f"--json {path} cannot be written: no file can be made in {near}") from error


def _line(found: "Finding") -> Any:
    """A finding on a line, and below it the way out."""
    from rich.text import Text

    mark, style = LOOKS[found.level]
    line = Text.assemble((mark, style), " ", (found.check, "bold"), f": {found.text}")
    if found.way_out:
        line.append(f"\n    → {found.way_out}")
    return line


def _verdict(findings: "list[Finding]") -> str:
    """How many of each."""
    count = {level: sum(each.level == level for each in findings) for level in LOOKS}
    words = [
        f"{count[level]} {level}{'s' * (count[level] > 1)}"
        for level in ("problem", "warning")
        if count[level]
    ]
    unseen = f", and {count['unseen']} could not be made" if count["unseen"] else ""
    return " and ".join(words) or f"all {count['ok']} checks are well{unseen}"
