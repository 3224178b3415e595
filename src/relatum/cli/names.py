"""``relatum list``: the names that exist."""

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any

import typer


def names(
    kind: Annotated[str, typer.Argument(help="methods, models, pairs, datasets or recipes.")],
    name: Annotated[
        str | None, typer.Argument(help="One of the methods: its formula, weights and source.")
    ] = None,
) -> None:
    """List the methods, models, pairs, datasets or recipes by name, with a line about each."""
    from relatum.types import Fault

    if name is not None:
        if kind != "methods":
            raise Fault(f"relatum list tells about one of the methods, not of the {kind}")
        typer.echo(_one_method(name))
        return

    kinds = {
        "methods": _methods,
        "models": _models,
        "pairs": _pairs,
        "datasets": _datasets,
        "recipes": _recipes,
    }
    if kind not in kinds:
        raise Fault(f"relatum list knows {', '.join(kinds)}, got {kind!r}")
    rows = kinds[kind]()
    width = max(map(len, rows))
    for name, text in rows.items():
        typer.echo(f"{name:<{width}}  {text}")


def _lines(entries: Mapping[str, Any]) -> dict[str, str]:
    return {name: _first_line(entry) for name, entry in entries.items()}


def _first_line(entry: Any) -> str:
    return (entry.__doc__ or "").strip().splitlines()[0] if entry.__doc__ else ""


def _methods() -> dict[str, str]:
    """A table: what each compares, since when, what it reads and needs, and whose it is."""
    from relatum.methods import METHODS
    from relatum.methods.needs import needs

    head = ("family", "year", "reads", "needs", "relational", "paper")
    rows = {}
    for name, each in METHODS.items():
        asks = needs(name)
        relational = "yes" if asks.relational else "no"
        year = str(each.year) if each.year else ""
        reads = ", ".join(asks.reads)
        rows[name] = (each.family, year, reads, asks.words, relational, each.paper)
    widths = [max(map(len, column)) for column in zip(head, *rows.values(), strict=True)]
    lines = {
        name: "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        for name, row in {"method": head, **rows}.items()
    }
    return {
        **{name: line.rstrip() for name, line in lines.items()},
        "A+B": "several at once: sp+kd; weighed: sp=3000+kd=0.9; on a tap: sp@embedding",
        "my_file:MyLoss": "your own loss, an nn.Module whose forward names student, teacher, …",
    }


def _one_method(name: str) -> str:
    from relatum.methods import METHODS
    from relatum.types import Fault

    if name not in METHODS:
        near = get_close_matches(name, METHODS, n=1, cutoff=0)
        raise Fault(f"there is no method {name!r}; the nearest is {near[0]!r}")
    method = METHODS[name]
    parts = [inspect.getdoc(method.build), method.paper, inspect.getdoc(method.loss)]
    return "\n\n".join(part for part in parts if part)


def _models() -> dict[str, str]:
    from relatum.models import MODELS

    others = {
        "timm/NAME": "any of timm's (pip install timm); :pretrained loads its weights",
        "torchvision/NAME": "any of torchvision's classifiers",
        "my_file:make_model": "your own function of channels, size and classes",
    }
    return _lines(MODELS) | others


def _pairs() -> dict[str, str]:
    """Those of the benchmark: the sizes of both networks for CIFAR-100, and of what kind it is."""
    from relatum.evaluate import parameters
    from relatum.models import create
    from relatum.recipes.benchmark import ALIKE, PAIRS

    networks = {name for pair in PAIRS for name in pair}
    counts = {name: parameters(create(name, channels=3, size=32, classes=100)) for name in networks}
    return {
        str(pair): f"{counts[pair.teacher]:>10,} to {counts[pair.student]:>9,} parameters, "
        + ("one architecture" if pair in ALIKE else "two architectures")
        for pair in PAIRS
    }


def _datasets() -> dict[str, str]:
    return {
        "digits": "scikit-learn's 1,797 digits of 8 by 8 pixels, embedded",
        "mnist": "60,000 + 10,000 digits of 28 by 28 pixels",
        "fashion-mnist": "60,000 + 10,000 pieces of clothing, likewise",
        "cifar10": "50,000 + 10,000 colour images of 32 by 32 pixels, 10 classes",
        "cifar100": "the same with 100 classes",
        "stl10": "5,000 + 8,000 photographs of 10 classes, at 32 pixels or image_size",
        "tiny-imagenet": "100,000 + 10,000 photographs of 200 classes, at 32 pixels or image_size",
        "folder:PATH": "a folder of images, with a folder for each class or without",
    }


def _recipes() -> dict[str, str]:
    from relatum.recipes.rrkd import REPRODUCTIONS
    from relatum.recipes.standard import STANDARD
    from relatum.recipes.transfer import transfer

    return {
        **{f"distill --data {name}": text for name, text in _lines(STANDARD).items()},
        "transfer RUN --to SET": _first_line(transfer),
        **{f"reproduce {name}": _first_line(each.plan) for name, each in REPRODUCTIONS.items()},
    }
