"""What is known of a method in numbers: its cost, what papers print, what was measured here."""

import csv
import json
import statistics
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from relatum.report.published import Published, lookup, published
from website.markdown import table

ROOT = Path(__file__).parents[2]
COST = ROOT / "benchmarks" / "results" / "loss_cost.json"
BENCHMARKS = ROOT / "docs" / "benchmarks"
NETWORKS = ("teacher", "student")


def cost(name: str) -> Iterator[str]:
    """What its losses add to a step; nothing where that was not measured."""
    rows = list(_cost_rows(name))
    if not rows:
        return
    yield "## What it costs"
    yield (
        "What its losses add to a step of the networks alone, resnet32x4 → resnet8x4 at CIFAR-100's"
        " size: medians, heads and memories included. [How this was measured](../cost.md)"
    )
    head = ["device", "batch", "speed", "threads", "ms a step", "of the networks' step", "MiB"]
    yield table(head, rows)


def _cost_rows(name: str) -> Iterator[list[str]]:
    for device, sizes in _kept_cost().items():
        for size, words in sizes.items():
            for word, threads in words.items():
                for count, steps in threads.items():
                    for stage in sorted(steps):
                        if stage == name or stage.startswith(f"{name}, stage"):
                            yield _cost_row(device, size, word, count, stage, steps)


def _cost_row(
    device: str, size: str, word: str, count: str, stage: str, steps: Mapping[str, Any]
) -> list[str]:
    # as benchmarks/loss_cost.py compares them: on one thread by the process's own time
    kind = "process_milliseconds" if device == "cpu" and count == "1" else "milliseconds"
    took = statistics.median(steps[stage][kind])
    alone = [statistics.median(steps[each][kind]) for each in NETWORKS if each in steps]
    share = f"{_digits(100 * took / sum(alone))} %" if len(alone) == len(NETWORKS) else ""
    peak = steps[stage].get("peak_mebibytes")
    which = word + stage.partition(",")[1] + stage.partition(",")[2]
    return [device, size, which, count, _digits(took), share, "" if peak is None else _digits(peak)]


def measured(name: str) -> Iterator[str]:
    """What the benchmarks in docs/benchmarks gave; nothing where it is in none."""
    found = [
        (page, row)
        for page in sorted(BENCHMARKS.glob("*.csv"))
        for row in csv.DictReader(page.read_text(encoding="utf-8").splitlines())
        if row["method"] == name and row["mean"]
    ]
    if not found:
        return
    yield "## Measured here"
    yield (
        "Means ± standard deviations over seeds, last epoch. The difference is to the student"
        " alone, with Dunnett's 95 % interval."
    )
    head = ["set", "teacher → student", "metric", "mean", "n", "rank", "Δ to alone", "table"]
    yield table(head, (_measured_row(page, row) for page, row in found))


def _measured_row(page: Path, row: Mapping[str, str]) -> list[str]:
    difference = ""
    if row["difference"]:
        low, high = float(row["difference_low"]), float(row["difference_high"])
        difference = f"{float(row['difference']):+.2f} ({low:.2f} to {high:.2f})"
    std = f" ± {float(row['std']):.2f}" if row["std"] else ""
    return [
        row["dataset"],
        f"{row['teacher']} → {row['student']}",
        row["metric"],
        f"{float(row['mean']):.2f}{std}",
        row["n"],
        row["rank"],
        difference.replace("-", "\N{MINUS SIGN}"),
        f"[{page.stem}](../benchmarks/{page.stem}.md)",
    ]


def published_results(name: str) -> Iterator[str]:
    """What papers and their code print of it, source by source; nothing where nobody does."""
    own = [each for each in published() if each.method == name]
    if not own:
        return
    yield "## Published"
    yield (
        "Top-1 in percent, as their sources print it; nothing of this was measured here. *Alone* is"
        " the student without a teacher, by the same source."
    )
    for (source, _, dataset, begun), group in groupby(own, key=_table_of):
        rows = list(group)
        first = rows[0]
        to = f"{dataset}, after distillation on {begun}" if begun else dataset
        yield f"**{to}**: [{source}]({first.at}). Epoch and runs: {first.told}."
        said = [text for text in (first.other, first.note) if text]
        if said:
            yield " ".join(f"{text[0].upper()}{text[1:].removesuffix('.')}." for text in said)
        yield table(["teacher", "student", "alone", name], map(_published_row, rows))


def _table_of(each: Published) -> tuple[str, ...]:
    return (each.source, each.told, each.dataset, each.begun)


def _published_row(each: Published) -> list[str]:
    alone = [
        none.top1
        for none in lookup(each.dataset, each.teacher, each.student, "none", begun=each.begun)
        if none.source == each.source
    ]
    std = "" if each.std is None else f" ± {each.std:.2f}"
    shown = f"{alone[0]:.2f}" if alone else ""
    return [each.teacher, each.student, shown, f"{each.top1:.2f}{std}"]


@cache
def _kept_cost() -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(COST.read_text(encoding="utf-8"))["cost"]
    return kept


def _digits(number: float) -> str:
    return f"{number:.2f}" if number < 1 else f"{number:.1f}" if number < 10 else f"{number:,.0f}"
