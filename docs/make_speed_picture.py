"""Draw docs/speed.svg, and write what was measured into docs/speed*.md and README.md.

Run ``python benchmarks/step.py --data FOLDER --cached`` and ``python benchmarks/mnist_epoch.py
--data FOLDER`` first, then ``python docs/make_speed_picture.py``. All numbers are their JSON's.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import mnist_epoch  # noqa: E402
import step_table  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PAGE, PICTURE = ROOT / "docs/speed_measured.md", ROOT / "docs/speed.svg"
SHORT = (ROOT / "README.md", ROOT / "docs/speed.md")
END = "<!-- end -->"
COLOURS = {"usual": "#8c8c8c", "live": "#2a6f97", "cached": "#61a5c2"}


def main() -> None:
    """The picture, then the pages."""
    step, epoch = read("step"), read("mnist_epoch")
    draw(step, PICTURE)
    for page, parts in pages(step, epoch).items():
        page.write_text(filled(page.read_text(encoding="utf-8"), parts), encoding="utf-8")


def read(name: str) -> Mapping[str, Any]:
    """A benchmark's result."""
    found: Mapping[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def pages(step: Mapping[str, Any], epoch: Mapping[str, Any]) -> dict[Path, dict[str, str]]:
    """What stands between the marks of each page."""
    return {
        PAGE: {
            "benchmarks/step.py": step_table.words(step),
            "benchmarks/mnist_epoch.py": block(epoch),
        },
        **{page: {"benchmarks/step.py": step_table.short(step)} for page in SHORT},
    }


def block(epoch: Mapping[str, Any]) -> str:
    """MNIST's result as its script prints it."""
    return f"```text\n{mnist_epoch.words(epoch)}\n```"


def filled(page: str, parts: Mapping[str, str]) -> str:
    """A page with other text between its marks.

    Raises:
        ValueError: a mark is missing.
    """
    for name, text in parts.items():
        begin = f"<!-- {name} -->\n"
        before, mark, rest = page.partition(begin)
        _, end, after = rest.partition(END)
        if not (mark and end):
            raise ValueError(f"the page has no {begin.strip()} … {END}")
        page = f"{before}{begin}{text}\n{END}{after}"
    return page


def draw(step: Mapping[str, Any], picture: Path) -> None:
    """A panel for each method: a bar for each way, and a line at the least it could take."""
    mpl.rcParams["svg.hashsalt"] = "relatum"  # so that the same numbers give the same file
    methods = step["methods"]
    ways = [name for name in step_table.medians(next(iter(methods.values()))) if "+" not in name]
    height = 0.34 * len(ways) * len(methods) + 1.0
    figure = Figure(figsize=(8.5, height), layout="constrained")
    for ax, (method, found) in zip(
        figure.subplots(len(methods), 1, squeeze=False).flat, methods.items(), strict=True
    ):
        panel(ax, method, found)
    figure.savefig(picture, metadata={"Date": None})


def panel(ax: Any, method: str, found: Mapping[str, Any]) -> None:
    """The bars of one method."""
    seconds = step_table.medians(found)
    names = [name for name in seconds if "+" not in name]
    best = seconds[step_table.baseline(found)]
    for place, name in enumerate(names):
        kind = "usual" if name.startswith("usual") else "cached" if "cached" in name else "live"
        each = [1e3 * value for value in found["seconds_of_a_step"][name]]
        median, least = 1e3 * seconds[name], 1e3 * found["floor_seconds"][name]["seconds"]
        ax.barh(place, median, color=COLOURS[kind], height=0.7)
        ax.plot([min(each), max(each)], [place, place], color="black", linewidth=1)
        ax.plot([least, least], [place - 0.35, place + 0.35], color="#d62828", linewidth=2)
        words = f" {median:,.0f} ms" if median >= 100 else f" {median:,.1f} ms"
        words += "" if kind == "usual" else f", {best / seconds[name]:.1f}\N{MULTIPLICATION SIGN}"
        ax.text(max(each), place, words, va="center", fontsize=9)
    ax.set_yticks(range(len(names)), [step_table.shown(name) for name in names], fontsize=9)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.25e3 * max(max(each) for each in found["seconds_of_a_step"].values()))
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel("milliseconds a step; black: least to most; red: floor", fontsize=9)
    ax.set_title(method, loc="left", fontsize=11)


if __name__ == "__main__":
    main()
