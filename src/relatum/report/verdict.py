"""What a table found, in sentences that are never surer than what was measured."""

from relatum.report.rows import Line
from relatum.report.spread import Difference, Spread
from relatum.report.table import Summary
from relatum.report.words import between, counted, enough, number, signed, spelled


def verdict(summary: Summary) -> str:
    """One sentence for the whole table."""
    methods = summary.methods
    told = [line for line in methods if line.difference is not None]
    if summary.primary is None:
        return "Nothing was measured on the test images."
    if len(methods) == 1:
        return finding(summary, methods[0])
    if not methods:
        return level(summary, summary.students[0] if summary.students else summary.lines[0])
    several = counted(len(methods), "method").capitalize()
    if not told and summary.compared:
        return f"{several} beside {summary.beside}, with too few seeds to compare them."
    if not told:
        alone = f", and no run of {summary.beside} to compare them with"
        return f"{several}{alone if summary.lacks_baseline else ', taught without labels'}."
    if all(line.difference is None or line.difference.interval is None for line in told):
        return (
            f"{several} beside {summary.beside}, by seeds that cannot tell a difference from"
            " chance."
        )
    return _sorted_out(summary, told)


def _sorted_out(summary: Summary, told: list[Line]) -> str:
    """How many methods are better, worse, or neither, and which."""
    better, worse, neither = list[str](), list[str](), list[str]()
    for line in told:
        found = line.difference
        if found is None or not found.clear:
            neither.append(line.title)
        else:
            (better if _better(summary, found) else worse).append(line.title)
    seeds = {line.n for line in told}
    few = f"{spelled(seeds.pop())} seeds" if len(seeds) == 1 else "these seeds"
    parts = [
        f"{spelled(len(names))} {words} ({', '.join(names)})"
        for names, words in (
            (better, f"better than {summary.beside}"),
            (worse, f"worse than {summary.beside}"),
            (neither, f"without a difference to {summary.beside} that {few} can show"),
        )
        if names
    ]
    return f"Of {counted(len(told), 'method')}: {'; '.join(parts)}."


def finding(summary: Summary, line: Line) -> str:
    """How a method stands to the student alone, as carefully as its seeds demand."""
    found, metric = line.difference, summary.primary
    if found is None or metric is None:
        return level(summary, line)
    digits = enough(metric.digits - 1, found.mean, *(found.interval or ()))
    unit = " points" if metric.percent else f" in {metric.title}"
    amount, seeds = f"{signed(found.mean, digits)}{unit}", _seeds(found)
    beside = f"{'over' if found.mean > 0 else 'against'} {summary.beside}"
    if min(found.counts) < 2:
        return f"{line.title}: {amount} {beside} in {seeds}, which is no evidence."
    if found.interval is None:
        return (
            f"{line.title}: {amount} {beside} in each of {seeds}; without any spread there"
            " is no interval to give."
        )
    ends = between(found.interval, digits)
    if found.clear:
        return f"{line.title}: {amount} {beside} (95 % interval {ends}, {seeds})."
    return (
        f"{line.title}: no difference to {summary.beside} that {seeds} can show ({amount}, 95 %"
        f" interval {ends})."
    )


def level(summary: Summary, line: Line) -> str:
    """What a network reached, where there is nothing to compare it with."""
    metric = summary.primary
    if metric is None or metric.name not in line.metrics:
        return f"{line.title}: not measured by what the others are."
    spread = line.metrics[metric.name]
    unit = " %" if metric.percent else ""
    text = f"{line.title}: {metric.title} {number(spread.mean, metric.digits)}{unit}"
    kept = line.metrics.get("kept")
    if kept is not None and line.kind != "teacher":
        text += f", {number(kept.mean, 1)} % of what the teacher reaches"
    text += _of_seeds(spread)
    if summary.lacks_baseline and len(summary.methods) == 1:
        text += f" There is no run of {summary.beside} to compare it with."
    return text


def _of_seeds(spread: Spread) -> str:
    if spread.n > 1:
        return f" (mean of {counted(spread.n, 'seed')})."
    return " (one run, which says nothing of what other seeds give)."


def _better(summary: Summary, found: Difference) -> bool:
    return summary.primary is None or (found.mean > 0) == summary.primary.higher


def _seeds(found: Difference) -> str:
    one, other = found.counts
    if one == other:
        return counted(one, "seed")
    return f"{spelled(one)} and {counted(other, 'seed')}"
