"""Pages of the reference, one for each public module: mkdocstrings fills them from docstrings."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

import relatum
from relatum import losses
from website.docstrings import heading
from website.markdown import table

LOSSES = losses.__all__
GROUPS: dict[str, tuple[str, ...]] = {
    "Parts of a loss": ("relations", "divergences", "memory", "schedules", "blocks", "world"),
    "Networks and images": (
        *(
            "types",
            "faults",
            "taps",
            "discovery",
            "models",
            "data",
            "datasets",
            "teachers",
            "tables",
            "cache",
            "views",
        ),
    ),
    "Training": (
        *("objective", "distiller", "fit", "tally", "accumulate", "speed", "weights"),
        *("gradient_norms", "balance"),
    ),
    "Measuring": ("evaluate", "record", "report.page", "report.published", "doctor", "tune"),
    "Whole runs": (
        *("methods", "methods.setting", "methods.stage", "grammar", "recipes.recipe"),
        *("recipes.standard", "recipes.benchmark", "run", "bench"),
    ),
    "Afterwards and elsewhere": (
        "export",
        "trackers",
        "integrations.lightning",
        "integrations.huggingface",
    ),
}
"""The modules that are for others to use, by what they are for; ``losses`` has pages of its own."""


def pages() -> Iterator[tuple[str, str]]:
    """The place of each page and its text."""
    yield "api/index.md", _first()
    for module in modules():
        yield page_of(module), _page(module)
    for module in loss_modules():
        yield page_of(module), _page(module)


def modules() -> list[str]:
    """All public modules but those of the losses."""
    return [f"relatum.{name}" for group in GROUPS.values() for name in group]


def loss_modules() -> list[str]:
    """The modules that hold public losses, in the order of their names."""
    return sorted({getattr(losses, name).__module__ for name in LOSSES})


def titles() -> dict[str, str]:
    """What each module is called in the navigation, by the place of its page."""
    named = {
        page_of(module): ", ".join(
            name for name in LOSSES if getattr(losses, name).__module__ == module
        )
        for module in loss_modules()
    }
    return {page_of(module): module for module in modules()} | named


def place_of(thing: type) -> str | None:
    """Where a class or function is described, or nothing where it is not."""
    module = thing.__module__
    if module in loss_modules() or module in modules():
        return f"{page_of(module)}#{module}.{thing.__name__}"
    return None


def page_of(module: str) -> str:
    """The place of a module's page."""
    return f"api/{module.removeprefix('relatum.').replace('.', '/')}.md"


def _first() -> str:
    """Where to find what: the public names of the package, then the modules."""
    parts = [
        "# Reference",
        "Read off the docstrings. `import relatum` has these names:",
        table(["name", "what it is", "from"], map(_name, relatum.__all__)),
    ]
    for title, group in GROUPS.items():
        parts += [f"## {title}", table(["module", ""], [_module(f"relatum.{m}") for m in group])]
    rows = [_module(module) for module in loss_modules()]
    parts += ["## Losses", table(["module", ""], rows)]
    return "\n\n".join(parts) + "\n"


def _name(name: str) -> list[str]:
    thing = getattr(relatum, name)
    home = thing.__module__
    place = place_of(thing) or place_of(_again(thing))
    said = (inspect.getdoc(thing) or "").partition("\n")[0]
    shown = f"`{name}`" if place is None else f"[`{name}`]({place.removeprefix('api/')})"
    return [shown, said, f"`{home}`"]


def _again(thing: type) -> type:
    """The class as its package has it, where its own module has no page."""
    package = thing.__module__.rpartition(".")[0]
    return type(thing.__name__, (), {"__module__": package})


def _module(module: str) -> list[str]:
    return [
        f"[`{module}`]({page_of(module).removeprefix('api/')})",
        heading(import_module(module)),
    ]


def _page(module: str) -> str:
    """A directive for mkdocstrings. A package says in ``__all__`` what is public in it."""
    names = getattr(import_module(module), "__all__", None)
    is_package = bool(getattr(find_spec(module), "submodule_search_locations", None))
    lines = [f"# {module}", "", f"::: {module}"]
    if is_package and names:
        lines += ["    options:", "      members:", *(f"      - {name}" for name in names)]
    return "\n".join(lines) + "\n"
