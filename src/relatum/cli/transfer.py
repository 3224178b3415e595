"""``relatum transfer``: what trained features are worth on another set."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from relatum.cli import options, training

if TYPE_CHECKING:
    from relatum.bench import Cell


class _Source(NamedTuple):
    """A trained student: its weights, network, label and seed, and a longer name of it."""

    begin: str
    student: str
    label: str
    seed: int
    name: str


def transfer(
    runs: Annotated[
        list[str],
        typer.Argument(help="Runs' folders, folders with runs in them, weights, or MODEL@FILE."),
    ],
    to: Annotated[str, typer.Option("--to", help="The set to go to (relatum list datasets).")],
    drifting: Annotated[
        bool,
        typer.Option(
            "--drifting", help="Let BatchNorm drift to the new images, as published code does."
        ),
    ] = False,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Logistic regression on features of plain images instead."),
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Of the new classifier and the order. [default: each run's]")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="The steps of the rate keep their shares. [default: 120]")
    ] = None,
    scale: options.Scale = 1.0,
    set_: options.Set = None,
    out: options.Out = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    device: options.Device = "auto",
    speed: options.Speed = None,
    precision: options.Precision = None,
    patience: options.Patience = options.PATIENCE,
) -> None:
    """Train a new classifier for another set on the frozen features of trained students.

    Nothing but the classifier changes, the statistics of BatchNorm included. 120 epochs, the
    learning rate of 0.05 divided by ten after 30, 60 and 90.
    """
    from relatum.bench import Cell
    from relatum.bench.experiment import folder_of
    from relatum.cli.distill import conclude
    from relatum.recipes.transfer import Way
    from relatum.recipes.transfer import transfer as course
    from relatum.types import Fault

    if drifting and probe:
        raise Fault("--drifting trains a classifier and --probe fits one: give one of them")
    if probe and epochs:
        raise Fault("--probe fits a classifier and trains none: --epochs has no effect beside it")
    way: Way = "drifting" if drifting else "probe" if probe else "frozen"
    elsewhere = ("seed", "scale", "begin", "student", "method")
    changes = options.changes_of(set_, elsewhere, {"epochs": epochs})
    cells: list[Cell] = []
    for source in _sources(runs):
        number = source.seed if seed is None else seed
        recipe = options.changed(
            course(source.begin, source.student, to, number, way),
            data_root=str(data_root) if data_root else None,
            speed=speed,
            precision=precision,
        )
        if epochs is not None:
            recipe = recipe.shortened(epochs)
        recipe = recipe.but(**changes).scaled(scale)
        cells.append(Cell(f"{folder_of(source.label)}/seed-{number}", source.label, recipe))
    _distinct(cells)
    folder = out or Path("runs") / f"transfer-{folder_of(to)}{'' if way == 'frozen' else f'-{way}'}"
    place = options.device_of(device)
    with training.company(place, patience) as company:
        records, failures = training.train(
            cells, folder, company, place, resume=resume, overwrite=overwrite, download=download
        )
    if company.first:
        conclude(folder, records, failures)


def _sources(texts: Sequence[str]) -> list[_Source]:
    """The students that texts name; by their labels, or by longer names where those are shared."""
    from relatum.record import find
    from relatum.run.trained import on_disk
    from relatum.types import Fault

    found: list[_Source] = []
    for text in texts:
        folder = Path(text)
        if not folder.is_dir():
            named = on_disk(text)
            if named is None:
                raise Fault(f"there is no run and no file {text}")
            found.append(_Source(text, named[0], named[0], 0, named[0]))
            continue
        for path, record in find(folder):
            named = on_disk(str(path))
            assert named is not None
            within = path.relative_to(folder).parts[:-1]
            name = "/".join(within) or f"{path.parent.name}/{record.label}"
            seed = record.recipe.seed
            found.append(_Source(str(path), named[0], record.label, seed, name))
    shared = max(Counter((each.label, each.seed) for each in found).values()) > 1
    return [each._replace(label=each.name) for each in found] if shared else found


def _distinct(cells: "Sequence[Cell]") -> None:
    """Refuse two students under one name and seed: they would share a folder."""
    from relatum.types import Fault

    folder, times = Counter(cell.folder for cell in cells).most_common(1)[0]
    if times > 1:
        raise Fault(f"{times} of these runs would be called {folder}: transfer them one by one")
