"""``relatum list``: the names that exist."""

from collections.abc import Callable
from typing import Annotated

import typer

from relatum.cli.known import SETS, known


def names(
    kind: Annotated[str, typer.Argument(help="methods, models, pairs, datasets or recipes.")],
    name: Annotated[
        str | None, typer.Argument(help="One of the methods: its formula, weights and source.")
    ] = None,
) -> None:
    """List the methods, models, pairs, datasets or recipes by name, with a line about each."""
    from relatum.faults import Fault

    if name is not None:
        if kind != "methods":
            raise Fault(f"relatum list tells about one of the methods, not of the {kind}")
        typer.echo(_one_method(name))
        return

    kinds: dict[str, Callable[[], dict[str, str]]] = {
        "methods": _methods,
        "models": _models,
        "pairs": lambda: known()["pairs"],
        "datasets": _datasets,
        "recipes": lambda: known()["recipes"],
    }
    if kind not in kinds:
        raise Fault(f"relatum list knows {', '.join(kinds)}, got {kind!r}")
    rows = kinds[kind]()
    width = max(map(len, rows))
    for name, text in rows.items():
        typer.echo(f"{name:<{width}}  {text}")


def _methods() -> dict[str, str]:
    """A table: what each compares, since when, what it reads and needs, and whose it is."""
    head = ("family", "year", "reads", "needs", "relational", "paper")
    rows = {}
    for name, each in known()["methods"].items():
        relational = "yes" if each["relational"] else "no"
        year = str(each["year"]) if each["year"] else ""
        reads = ", ".join(each["reads"])
        rows[name] = (each["family"], year, reads, each["needs"], relational, each["paper"])
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
    from relatum.faults import Fault
    from relatum.spelling import unknown

    methods = known()["methods"]
    if name not in methods:
        raise Fault(unknown("method", name, methods))
    method = methods[name]
    parts = [method["about"], method["paper"], method["loss"]]
    return "\n\n".join(part for part in parts if part)


def _models() -> dict[str, str]:
    return known()["models"] | {
        "timm/NAME": "any of timm's (pip install timm); :pretrained loads its weights",
        "torchvision/NAME": "any of torchvision's classifiers",
        "hf/NAME": "transformers' vision models: a kind (hf/vit), a folder, or hf/OWNER/MODEL",
        "my_file:make_model": "your own function of channels, size and classes",
    }


def _datasets() -> dict[str, str]:
    from relatum.spelling import OWN

    places = {"folder": "PATH", "table": "FILE", "hf": "NAME", "wds": "SHARDS"}
    return SETS | {f"{kind}:{places[kind]}": about for kind, about in OWN.items()}
