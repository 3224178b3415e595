"""The order of the site's pages, as mkdocs.yml has it."""

import re
from collections.abc import Iterable, Iterator, Mapping

from website import method_pages, reference

TUTORIALS = (
    "your_folder",
    "photographs",
    "without_labels",
    "teacher_as_a_table",
    "your_own_loss",
    "several_gpus",
    "reading_the_report",
)
GUIDES = (
    *("models", "your_images", "teacher_as_a_table", "evaluation", "doctor", "tuning", "shipping"),
    *("integrations", "speed", "speed_measured", "cached_teacher", "several_devices", "profile"),
)
"""The first of the guides; pages that are not named follow by their names."""
FIRST = ("index.md", "overview.md")
LAST = ("log.md", "changelog.md", "contributing.md")
Tree = list[tuple[str, "str | Tree"]]


def navigation(pages: Mapping[str, str]) -> str:
    """The end of mkdocs.yml: every page of ``pages`` once, files of code apart.

    Args:
        pages: their texts by their places.
    """
    held = {place: _title(text) for place, text in pages.items()}
    tree: Tree = [
        ("Home", [("relatum", "index.md"), ("Overview", "overview.md")]),
        ("Tutorials", _named(held, "tutorials", TUTORIALS)),
        ("Guides", _guides(held)),
        ("Methods", _methods()),
        ("Results", _results(held)),
        ("Reference", _reference()),
        ("Project", _project(held)),
    ]
    # What was measured, not the reader, decides whether there are results to be shown.
    lines = ["", "nav:", *_lines([(name, part) for name, part in tree if part], 1)]
    return "\n".join(lines) + "\n"


def _title(text: str) -> str:
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1].replace("`", "") if found else ""


def _named(held: Mapping[str, str], folder: str, order: Iterable[str]) -> Tree:
    places = [place for place in held if place.startswith(f"{folder}/")]
    return [(held[place], place) for place in _ordered(places, order)]


def _guides(held: Mapping[str, str]) -> Tree:
    apart = {*FIRST, *LAST, "methods.md", "cost.md"}
    places = [place for place in held if "/" not in place and place not in apart]
    return [(held[place], place) for place in _ordered(places, GUIDES)]


def _methods() -> Tree:
    by_family: Tree = [
        (title, [(name, f"methods/{name}.md") for name in names])
        for title, names in method_pages.families().items()
    ]
    return [("All methods", "methods.md"), *by_family]


def _results(held: Mapping[str, str]) -> Tree:
    return [
        ("What a loss costs", "cost.md"),
        *_named(held, "benchmarks", ()),
        *_named(held, "reproductions", ()),
    ]


def _reference() -> Tree:
    titles = reference.titles()
    losses: Tree = [(name, place) for place, name in titles.items() if "/losses/" in place]
    groups: Tree = []
    for title, names in reference.GROUPS.items():
        places = [reference.page_of(f"relatum.{name}") for name in names]
        groups.append((title, [(titles[place], place) for place in places]))
    return [("Names", "api/index.md"), ("Losses", losses), *groups]


def _project(held: Mapping[str, str]) -> Tree:
    decisions = sorted((place for place in held if place.startswith("decisions/2")), reverse=True)
    return [
        *((held[place], place) for place in LAST if place in held),
        ("Decisions", [("Decisions", "decisions/index.md"), *((held[p], p) for p in decisions)]),
    ]


def _ordered(places: list[str], order: Iterable[str]) -> list[str]:
    rank = {name: number for number, name in enumerate(order)}

    def key(place: str) -> tuple[int, str]:
        name = place.rpartition("/")[2].removesuffix(".md")
        return rank.get(name, len(rank)), place

    return sorted(places, key=key)


def _lines(tree: Tree, depth: int) -> Iterator[str]:
    for name, part in tree:
        head = f"{'  ' * depth}- {_quoted(name)}:"
        if isinstance(part, str):
            yield f"{head} {part}"
        else:
            yield head
            yield from _lines(part, depth + 1)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
