"""What the texts of the options say by themselves, looked at before torch is imported.

A mistyped name so costs a moment and not seconds. What needs more to be known (whether a method
serves a pair, whether a device is there) is refused where it is known.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from relatum.cli.known import SETS, known

if TYPE_CHECKING:
    from relatum.recipes.recipe import Recipe

FIELDS = {"batch": "batch_size"} | {
    name: name
    for name in ("speed", "precision", "epochs", "microbatch", "samples", "seed", "balance")
}
"""Options that are fields of the recipe, and which."""
ALSO_BY_SET = {name: field for name, field in FIELDS.items() if name != "seed"} | {
    name: name
    for name in ("student", "cache", "views", "data_root", "skip_broken", "sync_batchnorm")
}
"""Likewise those that ``--set`` may give instead, but not as well."""


class Checked(TyperCommand):
    """A command that refuses what is misspelt before it begins."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse an option that is given twice, of which typer would take the last in silence."""
        _once(self.make_parser(ctx).parse_args(args=list(args))[2])
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Look at the options, then run.

        Several processes look once they have met: what one of them refuses, because a folder
        is missing there alone, is then said by one and ends all.
        """
        if os.environ.get("WORLD_SIZE", "1") == "1":
            check(ctx.params)
        return super().invoke(ctx)


def check(options: Mapping[str, Any]) -> None:
    """Refuse names that do not exist, and values that no recipe can have.

    Args:
        options: of any of the commands, by the names of its parameters.

    Raises:
        Fault: the first of them that is wrong.
    """
    from relatum.faults import Fault

    if options.get("resume") and options.get("overwrite"):
        raise Fault("--resume goes on and --overwrite begins again: give one of them")
    for name, look in CHECKS.items():
        if isinstance(text := options.get(name), str):
            if not text.strip():
                raise Fault(f"{NAMED.get(name, f'--{name}')} is empty: name one, or leave it out")
            look(text)
    if "seeds" in options:
        from relatum.cli.options import seeds_of

        seeds_of(options["seeds"], options.get("seed"), (0,))
    _recipe(options)


def _once(given: Sequence[Any]) -> None:
    """Refuse what is there twice, of all the options as they stand on the command line."""
    from relatum.faults import Fault

    for place, option in enumerate(given):
        takes_one = option.param_type_name == "option" and not (option.multiple or option.is_flag)
        if takes_one and option in given[:place]:
            named = " or ".join(option.opts)
            raise Fault(f"{named} is given twice: give it once; a list is joined by commas")


def _methods(text: str) -> None:
    from relatum.method_names import split

    if text != "all":
        split(text, {name: each["family"] for name, each in known()["methods"].items()})


def _set(text: str) -> None:
    from relatum.faults import Fault
    from relatum.spelling import own_set, unknown_set

    if text not in SETS and own_set(text, SETS) is None:
        raise Fault(unknown_set(text, SETS))


def _model(text: str) -> None:
    from relatum.faults import Fault
    from relatum.spelling import unknown_model

    named = text in known()["models"] or set(text) & set("/:(@")
    if not named and not Path(text).exists():
        if _in_timm(text):
            raise Fault(f"no model is called {text!r} here; timm has one: timm/{text}")
        raise Fault(unknown_model(text, known()["models"]))


def _in_timm(name: str) -> bool:
    """Whether timm's files define a model of this name; timm itself imports torch, for seconds."""
    spec = find_spec("timm") if name.isidentifier() else None
    if spec is None or spec.origin is None:
        return False
    begin = f"@register_model\ndef {name}("
    files = Path(spec.origin).parent.glob("models/*.py")
    return any(begin in each.read_text(encoding="utf-8", errors="replace") for each in files)


def _teacher(text: str) -> None:
    from relatum.faults import Fault
    from relatum.spelling import unknown_teacher
    from relatum.teacher_names import teachers_there

    named = teachers_there(text)
    for each in named:
        if each.table is not None:
            if not each.table.path.is_file():
                raise Fault(f"there is no file {each.table.path}, which is named as a teacher")
            continue
        foreign = each.text.startswith(("timm/", "torchvision/", "hf/"))
        to_train = (each.text in known()["models"] or foreign) and len(named) == 1
        there = to_train or each.text.endswith(":pretrained") or "@" in each.text
        if not there and not Path(each.text).exists():
            raise Fault(unknown_teacher(each.text))


def _experiment(text: str) -> None:
    from relatum.faults import Fault
    from relatum.spelling import unknown

    begin = "reproduce "
    there = [each.removeprefix(begin) for each in known()["recipes"] if each.startswith(begin)]
    if text not in there:
        raise Fault(unknown("experiment", text, there))


def _trackers(text: str) -> None:
    from relatum.trackers import names_of

    names_of(text)


def _formats(text: str) -> None:
    from relatum.cli.known import EXPORTS
    from relatum.faults import Fault
    from relatum.spelling import unknown

    for name in text.split(","):
        if name.strip() not in EXPORTS:
            raise Fault(
                f"{unknown('format', name.strip(), EXPORTS)} (there are {', '.join(EXPORTS)})"
            )


CHECKS: dict[str, Callable[[str], None]] = {
    "method": _methods,
    "methods": _methods,
    "data": _set,
    "dataset": _set,
    "to": _set,
    "student": _model,
    "model": _model,
    "teacher": _teacher,
    "experiment": _experiment,
    "formats": _formats,
    "track": _trackers,
}
"""How the text of an option is looked at, where it is one that names something."""
NAMED = {
    "dataset": "the argument DATASET",
    "experiment": "the argument EXPERIMENT",
    "formats": "--to",
}
"""Those of them that are not called on the command line as here."""


def _recipe(options: Mapping[str, Any]) -> None:
    """Look at the fields one by one; whether they agree hangs on the set's own recipe."""
    given = {field: options.get(name) for name, field in FIELDS.items()}
    fields = {name: value for name, value in given.items() if value is not None}
    scale, file = options.get("scale"), options.get("recipe")
    if not (fields or options.get("set_") or file or scale not in (None, 1.0)):
        return
    from relatum.cli.options import changes_of
    from relatum.recipes.recipe import Recipe

    if file is not None:
        Recipe.read(file)
    if scale is not None:
        Recipe().scaled(scale)
    twice = {field: options.get(name) for name, field in ALSO_BY_SET.items()}
    if "dataset" in options:
        twice["dataset"] = options["dataset"] or options.get("data")
    changes = changes_of(options.get("set_"), given=twice)
    for name, value in {**fields, **changes}.items():
        _field(Recipe, name, value)


def _field(recipe: "type[Recipe]", name: str, value: Any) -> None:
    from relatum.faults import Fault

    try:
        recipe.of({name: value})
    except Fault as fault:
        # what does not agree with the other fields' defaults may agree with the set's own
        if f"field {name!r}" in str(fault):
            raise
