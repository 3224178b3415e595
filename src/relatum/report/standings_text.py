"""Standings as text: columns for every writer, what has to be said below, Markdown, LaTeX, CSV."""

import csv as spreadsheet
import io
from collections.abc import Iterator
from statistics import fmean
from typing import Any

from relatum.report.columns import Column, Shown, markdown_text
from relatum.report.columns import latex as latex_table
from relatum.report.columns import markdown as markdown_table
from relatum.report.columns import terminal as shown
from relatum.report.published import Published
from relatum.report.spread import Spread
from relatum.report.standing import Standing
from relatum.report.standings import PairStandings, Standings
from relatum.report.standings_notes import notes, pair_notes
from relatum.report.words import number

WIDE = 5
"""Pairs beside each other in LaTeX: as many means with their spread as a page is wide."""
VALIDATED, ON_TEST = "best_{}", "best_on_test_{}"
"""What records call the metric at the best epoch by validation, and by the test images."""
PRINTED = "published %"
HEADS = {VALIDATED: "best by validation", ON_TEST: "best on test (not ranked)"}


def overview(found: Standings) -> list[Column]:
    """Methods by pairs: the last epoch's mean and standard deviation, bold where rank 1 is."""
    labels = list(found.labels)
    columns = [Column("method", ("teacher", *map(_title, labels)), left=True)]
    for pair in found.pairs:
        teacher = pair.summary.teacher if pair.summary else None
        first = teacher.metrics.get(found.metric.name) if teacher else None
        methods = [pair.of(label) for label in labels]
        best = frozenset(at for at, each in enumerate(methods, 1) if each and each.rank == 1)
        cells = [_measured(found, each) + _few(each) if each else "" for each in methods]
        heading = " →\n".join(filter(None, pair.pair))
        columns.append(Column(heading, (_value(found, first), *cells), bold=best))
    means = ["", *(_mean(found, label) for label in labels)]
    if found.pairs[1:] and any(means):
        columns.append(Column("mean", tuple(means)))
    return columns


def _title(label: str) -> str:
    return Standing(label, None, None).title


def _few(method: Standing) -> str:
    """How many seeds there are, where it is not all."""
    return f" (n = {method.line.n})" if method.line and method.lacking else ""


def _mean(found: Standings, label: str) -> str:
    """Over all pairs, where a method has a run on each."""
    methods = [pair.of(label) for pair in found.pairs]
    spreads = [each.spread(found.metric.name) for each in methods if each]
    there = [each.mean for each in spreads if each]
    return number(fmean(there), found.metric.digits) if len(there) == len(found.pairs) else ""


def columns(found: Standings, pair: PairStandings) -> list[Column]:
    """A pair's table: the teacher, then its methods, best first."""
    metric, methods = found.metric, pair.methods
    teacher = pair.summary.teacher if pair.summary else None
    reached = teacher.metrics.get(metric.name) if teacher else None
    printed = [pair.teacher, *(each.published for each in methods)]
    columns = [
        Column("method", ("teacher", *map(_marked, methods)), left=True),
        Column("rank", ("", *(str(each.rank or "") for each in methods))),
    ]
    if any(printed):
        columns.append(Column(PRINTED, tuple(map(_printed, printed))))
    cells = [_value(found, reached), *(_measured(found, each) for each in methods)]
    best = frozenset(at for at, each in enumerate(methods, 1) if each.rank == 1)
    columns.append(Column(metric.heading, tuple(cells), bold=best))
    columns.append(Column("n", ("", *(str(each.line.n) if each.line else "0" for each in methods))))
    for key, heading in HEADS.items():
        spreads = [each.spread(key.format(metric.name)) for each in methods]
        if any(spreads):
            columns.append(Column(heading, ("", *(_value(found, each) for each in spreads))))
    return [*columns, *_differences(found, pair)]


def _marked(method: Standing) -> str:
    return f"{method.title}{method.line.mark if method.line else ''}"


def _differences(found: Standings, pair: PairStandings) -> Iterator[Column]:
    """How far methods lie from the baseline, and how often chance would show as much."""
    if pair.summary is None:
        return
    whole = pair.summary.difference()
    texts = dict(zip([line.label for line in pair.summary.lines], whole.cells, strict=True))
    told = [each.line.difference if each.line else None for each in pair.methods]
    if not any(told):
        return
    cells = (texts.get(each.label, "") if each.line else "" for each in pair.methods)
    clear = frozenset(at for at, each in enumerate(told, 1) if each and each.clear)
    yield Column(whole.heading, ("", *cells), bold=clear)
    chances = (_chance(each.p) if each and each.p is not None else "" for each in told)
    yield Column("p", ("", *chances))


def _chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _value(found: Standings, spread: Spread | None) -> str:
    if spread is None:
        return ""
    digits = found.metric.digits
    text = number(spread.mean, digits)
    return text if spread.std is None else f"{text} ± {number(spread.std, digits)}"


def _measured(found: Standings, method: Standing) -> str:
    """What was measured, or the word for why nothing was."""
    spread = method.spread(found.metric.name)
    if spread is None:
        return method.state if method.line is None else ""
    return _value(found, spread)


def _printed(published: Published | None) -> str:
    if published is None:
        return ""
    value = f"{published.top1:.2f}"
    value += f" ± {published.std:.2f}" if published.std is not None else ""
    return f"{value} ({published.told}){' ‡' if published.other else ''}"


def markdown(*found: Standings) -> str:
    """All tables as GitHub's Markdown: an overview, then a table for each pair."""
    parts = list[str]()
    for each in found:
        parts += [f"## {markdown_text(each.title)}", "", _paragraph(each.protocol.title)]
        if each.pairs[1:]:
            parts += [markdown_table(overview(each)), ""]
        for pair in each.pairs:
            parts += [f"### {markdown_text(pair.title)}", "", markdown_table(columns(each, pair))]
            parts += ["", *(f"- {markdown_text(note)}" for note in pair_notes(each, pair)), ""]
        parts += [*(f"- {markdown_text(note)}" for note in notes(each)), ""]
    return "\n".join(parts).rstrip() + "\n"


def _paragraph(text: str) -> str:
    return f"{markdown_text(text)}\n"


def latex(*found: Standings) -> str:
    """All tables as LaTeX, to be read by a document with the package booktabs."""
    parts = [r"% Written by relatum; needs \usepackage{booktabs}."]
    for each in found:
        about = notes(each)
        if each.pairs[1:]:
            parts += _overviews(each, about)
        for pair in each.pairs:
            under = [*pair_notes(each, pair), *([] if each.pairs[1:] else about)]
            parts.append(latex_table(columns(each, pair), f"{pair.title}: {each.title}.", under))
    return "\n\n".join(parts) + "\n"


def _overviews(found: Standings, about: list[str]) -> Iterator[str]:
    """As many pairs beside each other as there is room for; notes below the last."""
    names, *held = overview(found)
    pairs, rest = held[: len(found.pairs)], held[len(found.pairs) :]
    for start in range(0, len(pairs), WIDE):
        last = start + WIDE >= len(pairs)
        some = [names, *pairs[start : start + WIDE], *(rest if last else [])]
        caption = f"{found.title}. {found.protocol.title}."
        yield latex_table(some, caption, about if last else [])


def terminal(*found: Standings) -> Iterator[Shown]:
    """A table for each pair, in 80 characters: what is measured, and what that shows."""
    for each in found:
        for pair in each.pairs:
            held = [
                column
                for column in columns(each, pair)
                if column.heading not in (PRINTED, *HEADS.values())
            ]
            last = pair is each.pairs[-1]
            under = [*pair_notes(each, pair), *(notes(each, brief=True) if last else [])]
            yield shown(held, under, f"{pair.title}, {each.title}")


def csv(*found: Standings) -> str:
    """All tables as one of comma-separated values: a line for each pair and method, unrounded."""
    buffer = io.StringIO()
    rows = [
        _row(each, pair, method) for each in found for pair in each.pairs for method in pair.methods
    ]
    writer = spreadsheet.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _row(found: Standings, pair: PairStandings, method: Standing) -> dict[str, Any]:
    recipe, name, printed = found.protocol.recipe, found.metric.name, method.published
    teacher = pair.summary.teacher if pair.summary else None
    reached = teacher.metrics.get(name) if teacher else None
    gap = method.line.difference if method.line else None
    return {
        "dataset": recipe.dataset,
        "teacher": pair.pair.teacher,
        "student": pair.pair.student,
        "method": method.label,
        "published_top1": printed.top1 if printed else "",
        "published_std": printed.std if printed and printed.std is not None else "",
        "published_epoch": printed.epoch if printed else "",
        "published_runs": (printed.runs or "unknown") if printed else "",
        "published_unsure": " ".join(sorted(printed.unsure)) if printed else "",
        "published_other": printed.other if printed else "",
        "published_source": printed.source if printed else "",
        "metric": name,
        **_spread("", method.spread(name)),
        "seeds": " ".join(str(run.recipe.seed) for run in method.line.runs) if method.line else "",
        **_spread("best_by_validation_", method.spread(VALIDATED.format(name))),
        **_spread("best_on_test_", method.spread(ON_TEST.format(name))),
        "rank": method.rank or "",
        "baseline": found.baseline,
        "difference": gap.mean if gap else "",
        "difference_low": gap.low if gap else "",
        "difference_high": gap.high if gap else "",
        "p": gap.p if gap else "",
        "smallest_shown": pair.smallest if pair.smallest is not None else "",
        "teacher_reaches": reached.mean if reached else "",
        "state": method.state,
        "lacking": "; ".join(method.lacking),
        "epochs": recipe.epochs,
        "scale": recipe.scale,
        "batch_size": recipe.batch_size,
        "last_batch": recipe.last_batch,
    }


def _spread(prefix: str, spread: Spread | None) -> dict[str, Any]:
    return {
        f"{prefix}mean": spread.mean if spread else "",
        f"{prefix}std": spread.std if spread and spread.std is not None else "",
        f"{prefix}n": spread.n if spread else "",
        f"{prefix}values": " ".join(map(repr, spread.values)) if spread else "",
    }
