"""The page of a benchmark: every pair with its table and picture, and a page for each pair."""

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from relatum.recipes.benchmark import Pair
from relatum.record import Record
from relatum.report import markup, provenance
from relatum.report.page import NAME, render, whole
from relatum.report.pairs import pair_of
from relatum.report.provenance import Runs
from relatum.report.published import TEACHER
from relatum.report.rows import ALONE
from relatum.report.standings import PairStandings, Standings
from relatum.report.standings_notes import notes, pair_notes
from relatum.report.standings_picture import dots
from relatum.report.standings_text import columns, csv, latex, markdown, overview
from relatum.report.table import Summary
from relatum.report.verdict import verdict
from relatum.report.words import counted, duration, spelled
from relatum.weights import write

STATES = {
    "refused": "refused",
    "failed": "failed",
    "not run": "not run",
    "partial": "lack seeds",
}
TABLES = {"table.md": markdown, "table.csv": csv, "table.tex": latex}


def write_benchmark(folder: Path, runs: Runs, found: Sequence[Standings]) -> Path:
    """Write a benchmark's tables and pages, and say where the first page is.

    The folder gets ``table.md``, ``table.csv``, ``table.tex`` and ``report.html``; the folder of
    each pair gets a page of its own, with its relations, samples and course of training.

    Args:
        folder: of the benchmark.
        runs: where each run lies, and its record, as ``relatum.record.find`` gives them.
        found: the tables that ``relatum.report.standings.tables`` made of these records.

    Raises:
        Fault: a file cannot be written.
    """
    for name, made in TABLES.items():
        write(folder / name, made(*found).encode())
    parts = list[str]()
    for number, each in enumerate(found, 1):
        name = NAME if number == 1 else NAME.replace(".", f"-{number}.")
        links = dict[Pair, str]()
        for pair in each.pairs:
            own = _runs(runs, pair)
            if pair.summary is not None and (home := _home(own, pair)) is not None:
                _write_pair(home / name, folder, own, pair.summary)
                links[pair.pair] = (home / name).relative_to(folder).as_posix()
        parts += _sections(each, links)
    parts.append(markup.section("Environment", provenance.environment(runs)))
    every = markup.folded("All metrics of all runs", provenance.every_run(folder, runs))
    parts.append(markup.section("Every run", every))
    head = [markup.paragraph(heading(found), "verdict"), markup.facts(_facts(found, runs))]
    write(folder / NAME, whole(title(found), head, parts, runs).encode())
    return folder / NAME


def _write_pair(page: Path, folder: Path, runs: Runs, summary: Summary) -> None:
    """Write a pair's page, unless it is there and of these very runs: drawing takes seconds."""
    known = sha256(f"{version('relatum')} {summary.baseline}".encode())
    for path, record in runs:
        known.update(f"{path.relative_to(folder)} {record.model_dump_json()}".encode())
    mark = f"<!-- made of {known.hexdigest()} -->\n".encode()
    if not (page.is_file() and page.read_bytes().endswith(mark)):
        write(page, render(folder, runs, summary).encode() + mark)


def title(found: Sequence[Standings]) -> str:
    """What the page is called."""
    methods = {label for each in found for label in each.labels} - {ALONE}
    pairs = dict.fromkeys(pair.title for each in found for pair in each.pairs)
    sets = dict.fromkeys(each.protocol.recipe.dataset for each in found)
    words = f"{counted(len(methods), 'method')} on {counted(len(pairs), 'pair')}, {', '.join(sets)}"
    return words[0].upper() + words[1:]


def heading(found: Sequence[Standings]) -> str:
    """What was found, in a sentence for each table."""
    return " ".join(_told(each) for each in found)


def _told(found: Standings) -> str:
    told = [
        (line.difference, found.metric.higher)
        for pair in found.pairs
        if pair.summary
        for line in pair.summary.students
        if line.difference
    ]
    which = f" ({found.which})" if found.which else ""
    scale = found.protocol.recipe.scale
    rough = f" At scale {scale:g}: not comparable with published numbers." if scale != 1 else ""
    if not told:
        return f"No comparison with {found.beside}{which}: it takes two seeds of each.{rough}"
    better = sum(gap.clear and (gap.mean > 0) == higher for gap, higher in told)
    worse = sum(gap.clear and (gap.mean > 0) != higher for gap, higher in told)
    counts = {
        "better": better,
        "worse": worse,
        "not decided by these seeds": len(told) - better - worse,
    }
    parts = [f"{spelled(count)} {words}" for words, count in counts.items() if count]
    many = counted(len(told), "comparison")
    return f"Of {many} with {found.beside}{which}: {', '.join(parts)}.{rough}"


def _facts(found: Sequence[Standings], runs: Runs) -> dict[str, str]:
    methods = [each for table in found for pair in table.pairs for each in pair.methods]
    seconds = sum(record.seconds for _, record in runs)
    held = {
        "training": "; ".join(each.protocol.title for each in found),
        "runs": f"{counted(len(runs), 'run')}, {duration(seconds)}",
    }
    counts = Counter(each.state for each in methods)
    missing = [f"{counts[state]} {words}" for state, words in STATES.items() if counts[state]]
    return {**held, **({"methods on pairs": ", ".join(missing)} if missing else {})}


def _sections(found: Standings, links: Mapping[Pair, str]) -> list[str]:
    name = f": {found.title}" if found.which else ""
    wide = found.pairs[1:]
    rows = 1 + len(found.labels)
    parts = [
        markup.section(
            f"All pairs{name}",
            markup.columns(overview(found), ["reference", *[""] * (rows - 1)], "All pairs"),
        )
        if wide
        else ""
    ]
    parts += [
        markup.section(pair.title + name, *_pair(found, pair, links.get(pair.pair)))
        for pair in found.pairs
    ]
    return [*parts, markup.section(f"How to read it{name}", markup.bullets(notes(found)))]


def _pair(found: Standings, pair: PairStandings, link: str | None) -> list[str]:
    drawn = dots(found, pair)
    kinds = ["reference", *("" for _ in pair.methods)]
    return [
        markup.paragraph(verdict(pair.summary)) if pair.summary else "",
        markup.grid([markup.figure(drawn)], "single") if drawn else "",
        markup.columns(columns(found, pair), kinds, pair.title),
        f'<div class="under">{markup.bullets(pair_notes(found, pair))}</div>',
        markup.link("Its relations, samples and course of training", link) if link else "",
    ]


def _runs(runs: Runs, pair: PairStandings) -> list[tuple[Path, Record]]:
    """A pair's runs and where they lie, those that trained its teacher among them."""
    lines = pair.summary.lines if pair.summary else ()
    held = {id(run) for line in lines for run in line.runs}
    return [
        (path, record)
        for path, record in runs
        if id(record) in held
        or (record.label == TEACHER and record.recipe.student == pair.pair.teacher)
    ]


def _home(runs: Runs, pair: PairStandings) -> Path | None:
    """The folder that holds a pair's own runs, by method and seed."""
    own = (path for path, run in runs if run.label != TEACHER and pair_of(run) == pair.pair)
    return next((path.parent.parent for path in own if pair.pair.teacher), None)
