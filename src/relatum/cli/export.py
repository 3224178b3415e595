"""``relatum export``: a trained student as a file that others run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relatum.cli import options
from relatum.cli.known import EXPORTS

if TYPE_CHECKING:
    from relatum.export import Source
    from relatum.export.manifest import Manifest

License = Annotated[
    str | None,
    typer.Option("--license", help="Of the weights, for the model card: the hub's short name."),
]
TeacherLicense = Annotated[
    str | None, typer.Option("--teacher-license", help="Of the teacher's weights, likewise.")
]


def export(
    run: Annotated[str, typer.Argument(help="A run's folder, its weights, or MODEL@FILE.")],
    formats: Annotated[
        str, typer.Option("--to", help=f"One or several of {', '.join(EXPORTS)}.")
    ] = "safetensors",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the files. [default: export/ in the run's]")
    ] = None,
    input: Annotated[
        str,
        typer.Option(
            help="What enters: images normalised outside (normalised), or normalised inside, from"
            " [0, 1] (float) or bytes (uint8)."
        ),
    ] = "normalised",
    output: Annotated[
        str,
        typer.Option(
            help="What leaves: logits, embedding or both; auto is what the network was taught to"
            " put out."
        ),
    ] = "auto",
    resize: Annotated[
        bool, typer.Option("--resize", help="Take images of any size, and resize them inside.")
    ] = False,
    fixed: Annotated[
        int | None, typer.Option("--batch", help="Images at a time, always. [default: any number]")
    ] = None,
    images: Annotated[int, typer.Option(help="Test images to compare the file on.")] = 64,
    latency: Annotated[
        bool, typer.Option("--latency", help="Also time it, the student and the teacher.")
    ] = False,
    card: Annotated[
        bool, typer.Option("--card", help="Also write the model card, README.md.")
    ] = False,
    license: License = None,
    teacher_license: TeacherLicense = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="The set that it was trained on, where no file says so."),
    ] = None,
    data_root: options.DataRoot = None,
) -> None:
    """Write a trained student as a file that others run, and compare it with the student."""
    from relatum.export import FORMATS, Graph, source_of
    from relatum.export import export as write
    from relatum.export.card import Licences, write_card
    from relatum.export.card_text import place
    from relatum.export.weights_file import unheld
    from relatum.types import Fault

    names = names_of(formats)
    if images < 1:
        raise Fault(f"--images is at least 1, got {images}")
    source = source_of(run, data, data_root)
    if card and source.record is None:
        raise Fault(f"--card tells of a run, and {run} is none: give a run's folder")
    folder = out or folder_of(source)
    if card:
        place(folder)
    graph = Graph(source, input, output, resize, fixed)  # type: ignore[arg-type]
    manifest = write(graph, names, folder, count=images)
    for name in names:
        typer.echo(_line(manifest, FORMATS[name].file, folder))
    for file in manifest.earlier:
        typer.echo(
            f"{folder / file} is still of weights that this student no longer has: export it again,"
            " or remove it",
            err=True,
        )
    bare = [name for name in names if FORMATS[name].bare]
    if bare and (ignored := unheld(graph)):
        typer.echo(
            f"{' and '.join(bare)}: the weights alone, without {' and '.join(ignored)}", err=True
        )
    if source.untaught and output == "auto" and len(bare) < len(names):
        typer.echo("it gives the embedding: nothing taught this student to classify", err=True)
    if latency:
        _time(source, folder)
    if card:
        typer.echo(f"card: {write_card(source, folder, Licences(license, teacher_license))}")


def names_of(text: str) -> list[str]:
    """The formats of a list, each once."""
    return list(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))


def folder_of(source: "Source") -> Path:
    """Where files of a student go, if nobody says where."""
    from relatum.export.claim import FOLDER

    assert source.weights is not None
    return source.weights.parent / FOLDER


def _line(manifest: "Manifest", file: str, folder: Path) -> str:
    """A file, what enters and leaves, and how far it is from the student."""
    from relatum.report.words import weight

    one = manifest.files[file]
    shape = " by ".join(map(str, one.input_shape))
    check = one.check
    agrees = (
        "" if check.top1_agreement is None else f", top-1 equal on {check.top1_agreement:.1f} %"
    )
    return (
        f"{folder / file}: {weight(one.bytes)}; {one.input} images, {shape}, to"
        f" {' and '.join(one.outputs)}; on {check.compared_on} within"
        f" {check.largest_difference:.1g} ({check.relative_difference:.1g} of the largest)"
        f"{agrees}"
    )


def _time(source: "Source", folder: Path) -> None:
    """Measure, print, and leave it to the run's report."""
    from rich.console import Console

    from relatum.export.costs import measure
    from relatum.report.cost_table import terminal

    measured, notes = measure(source, folder)
    Console().print(terminal(measured.networks, notes), crop=False)
    measured.save(source.run or folder)
