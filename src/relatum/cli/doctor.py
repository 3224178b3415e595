"""``relatum doctor``: what would go wrong with a ``distill``, before it is begun."""

import inspect
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relatum.cli.distill import distill

if TYPE_CHECKING:
    import torch

    from relatum.bench import Cell, Failure
    from relatum.cli.options import Company
    from relatum.doctor import Finding
    from relatum.record import Record

LOOKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "bold red")}
"""How a finding is marked."""
Json = Annotated[
    Path | None, typer.Option("--json", help="Also write what was found into this file.")
]


def doctor(context: typer.Context, json: Path | None = None, **options: Any) -> None:
    """Look at what 'relatum distill' with the same options would do, in about a minute.

    The images, the teacher's accuracy on some of them, what each term reads and how hard it pulls,
    a few steps, and what it all takes in time, memory and room on the disk. Nothing is trained and
    no file written, but for --json. Exit code 2 says that there is a problem, and not only a
    warning.
    """
    if json is not None:
        _check_place(json)
    examination = _Examination()
    # what distill does once it knows its runs: they are looked at instead
    context.obj = examination.look
    distill(context, **options)
    if json is not None:
        examination.keep(json)
    if any(each.level == "problem" for each in examination.findings):
        raise typer.Exit(2)


# The very options of distill, whatever they are by now.
_OWN, *_REST = inspect.signature(distill).parameters.values()
_JSON = inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Json)
doctor.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [_OWN, *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in _REST), _JSON]
)
doctor.__annotations__ = {**distill.__annotations__, "json": Json}


class _Examination:
    """What was found, said as it is found."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def look(
        self,
        cells: "list[Cell]",
        folder: Path,
        company: "Company",
        device: "torch.device",
        *,
        resume: bool,
        overwrite: bool,
        download: bool,
    ) -> "tuple[list[Record], list[Failure]]":
        """Take the place of training: look, and train nothing."""
        from rich.console import Console

        from relatum.doctor import examine

        console = Console()
        with console.status("looking …"):
            for found in examine(cells, folder, device=device, download=download):
                self.findings.append(found)
                console.print(_line(found), soft_wrap=True)
        console.print(_verdict(self.findings))
        return [], []

    def keep(self, path: Path) -> None:
        """Write what was found."""
        from dataclasses import asdict

        from relatum.weights import write

        found = [asdict(each) for each in self.findings]
        write(path, json.dumps(found, indent=1, ensure_ascii=False).encode())


def _check_place(path: Path) -> None:
    """Refuse a file that cannot be written, before there is anything to write."""
    from relatum.faults import Fault

    if path.is_dir() or not path.name:
        raise Fault(f"--json wants a file to write, and {path} is a folder")
    near = next(each for each in path.absolute().parents if each.exists())
    if not (near.is_dir() and os.access(near, os.W_OK)):
        raise Fault(f"--json {path} cannot be written: no file can be made in {near}")


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
    return " and ".join(words) or f"all {count['ok']} checks are well"
