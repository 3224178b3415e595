"""``relatum list``: the names that exist."""

from collections.abc import Callable
from typing import Annotated

import typer

from relatum.cli.known import SETS, known


def names(
    kind: Annotated[str, typer.Argument(help="methods, models, pairs, datasets or recipes.")],
    name: Annotated[
        str | None,
        typer.Argument(
            help="Of the methods, one: its formula, weights and source. Of the models, those of a"
            " library: timm/resnet, torchvision/*_small, hf/."
        ),
    ] = None,
) -> None:
    """List the methods, models, pairs, datasets or recipes by name, with a line about each."""
    from relatum.faults import Fault

    if name is not None:
        if kind not in ("methods", "models"):
            raise Fault(
                "relatum list tells of one method (methods sp) or of models of a kind (models"
                f" timm/resnet), got {kind} {name}"
            )
        typer.echo(_one_method(name) if kind == "methods" else _models_like(name))
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
    said = (f"{option}: {what}" for option, what in method["options"].items())
    options = f"Options, as {name}(NAME=VALUE):\n    " + "\n    ".join(said)
    parts = [method["about"], method["paper"], method["loss"]]
    parts += [options] if method["options"] else []
    return "\n\n".join(part for part in parts if part)


def _models() -> dict[str, str]:
    return known()["models"] | {
        "timm/NAME": "any of timm's (relatum list models timm/resnet); timm/hf-hub:OWNER/MODEL,"
        " timm/local-dir:FOLDER",
        "torchvision/NAME": "any of torchvision's classifiers (relatum list models torchvision/)",
        "hf/NAME": "transformers' vision models: a kind (relatum list models hf/), a folder that"
        " save_pretrained wrote, or hf/OWNER/MODEL",
        "NAME:pretrained": "any of these three with its published weights",
        "NAME@FILE": "any model with the weights of a file",
        "my_file:make_model": "your own function of channels, size and classes",
    }


def _models_like(text: str) -> str:
    """The names of a library's networks, or our own that begin so."""
    if "/" in text:
        from relatum.models.foreign import listed

        return "\n".join(listed(text))
    from relatum.faults import Fault
    from relatum.spelling import unknown_model

    found = {name: about for name, about in known()["models"].items() if name.startswith(text)}
    if not found:
        raise Fault(unknown_model(text, known()["models"]))
    return "\n".join(f"{name}  {about}" for name, about in found.items())


def _datasets() -> dict[str, str]:
    from relatum.spelling import OWN

    places = {"folder": "PATH", "table": "FILE", "hf": "NAME", "wds": "SHARDS"}
    return SETS | {f"{kind}:{places[kind]}": about for kind, about in OWN.items()}
