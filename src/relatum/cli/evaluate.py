"""``relatum evaluate``: measure a trained student again."""

import json
from pathlib import Path
from typing import Annotated

import typer

from relatum.cli import options


def evaluate(
    run: Annotated[
        str, typer.Argument(help="A run's folder; MODEL@FOLDER, where its networks are own code.")
    ],
    data: Annotated[str | None, typer.Option("--data", help="Another set than the run's.")] = None,
    probe: Annotated[
        str, typer.Option(help="Also ask the frozen embedding: linear,knn,retrieval.")
    ] = "",
    best: Annotated[
        bool, typer.Option("--best", help="The best epoch by validation, not the last.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    device: options.Device = "auto",
) -> None:
    """Measure the student of a finished run on the test images, beside its teacher."""
    from relatum.run.again import evaluate_again

    folder, own_code = _named(run)
    found = evaluate_again(
        folder,
        own_code=own_code,
        dataset=data,
        data_root=data_root,
        probes=tuple(each.strip() for each in probe.split(",") if each.strip()),
        best=best,
        download=download,
        device=options.device_of(device),
    )
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    _show(found, folder, data)


def _show(found: dict[str, float], folder: Path, data: str | None) -> None:
    """A line for each thing that was measured, as tables call it, and of which images."""
    from relatum.record import Record
    from relatum.report.measured import metric_of

    record = Record.load(folder)
    of = f"the test images of {data}"
    if data in (None, record.recipe.dataset):
        of = f"{record.samples.get('test', 0):,} test images of {record.recipe.dataset}"
    typer.echo(f"on {of}:")
    metrics = [metric_of(name) for name in found]
    width = max((len(each.title) for each in metrics), default=0)
    for metric, value in zip(metrics, found.values(), strict=True):
        said = f"{value:.2f} %" if metric.percent else f"{value:.4f}"
        typer.echo(f"{metric.title:<{width}}  {said}")


def _named(text: str) -> tuple[Path, tuple[str, ...]]:
    """The folder of a run, and the own code that stands before it: ``net.py:make@FOLDER``."""
    code, at, place = text.partition("@")
    if not at or ":" not in code or Path(text).exists():
        return Path(text), ()
    return Path(place), tuple(each.strip() for each in code.split(","))
