"""One page that holds everything: written once, opened anywhere, and asks nobody for anything."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

from relatum.record import Record, find
from relatum.report import markup, matrices, provenance
from relatum.report.cost_table import cost_table
from relatum.report.course import course
from relatum.report.figures import figures
from relatum.report.meanings import meanings
from relatum.report.pictures import differences, size_and_quality
from relatum.report.provenance import Runs
from relatum.report.table import Summary, summarise
from relatum.report.teachers import members_in_words, teacher_in_words
from relatum.report.verdict import finding, verdict
from relatum.report.words import counted, duration, short
from relatum.weights import write

NAME = "report.html"
STYLE = Path(__file__).with_name("page.css")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""No script runs and nothing is fetched, whatever a label may hold."""


def write_report(folder: Path, *, mapped: bool = True) -> Path:
    """Write ``report.html`` about a run, or about all runs below a folder, and say where it is.

    The page holds its pictures, needs no script and no network, and is written whole or not at
    all. Whatever a run lacks (matrices, a teacher, labels, a validation part) is left out.

    Raises:
        Fault: there is no finished run; one is damaged; they are of different settings; or the
            page cannot be written.
    """
    folder = Path(folder)
    runs = find(folder)
    page = render(folder, runs, mapped=mapped)
    write(folder / NAME, page.encode())
    return folder / NAME


def write_reports(folder: Path) -> Path:
    """Write the page of a folder of runs, and that of every run in it; say where the first is.

    Raises:
        Fault: as ``write_report`` does.
    """
    for path, _ in find(Path(folder)):
        if path != Path(folder):
            write_report(path, mapped=False)
    return write_report(folder)


def render(folder: Path, runs: Runs, summary: Summary | None = None, *, mapped: bool = True) -> str:
    """The page about the runs of one pair of networks as text.

    Args:
        folder: what their paths are shown relative to.
        runs: where each run lies, and its record.
        summary: their table, where it is already made.
        mapped: draw maps of the samples, which takes a second or two for each network.
    """
    if summary is None:
        summary = summarise([record for _, record in runs], [place for place, _ in runs])
    parts = [
        markup.section("Results", *_results(summary, folder, runs)),
        markup.section("Size, quality, difference", *_size(summary)),
        markup.section("Cost", cost_table(runs)),
        markup.section("Relations", *_relations(summary, runs)),
        *(figures(summary, runs) if mapped else []),
        markup.section("Course of training", *_course(summary)),
        markup.section("Notes", provenance.remarks(summary)),
        markup.section("Recipes", provenance.recipes(summary)),
        markup.section("Environment", provenance.environment(runs)),
        markup.section("Again", provenance.again(folder, runs)),
    ]
    head = [
        markup.paragraph(verdict(summary), "verdict"),
        markup.facts(_facts(summary, runs)),
    ]
    return whole(heading(summary), head, parts, runs)


def whole(title: str, head: Iterable[str], parts: Iterable[str], runs: Runs) -> str:
    """A page from its pieces, empty ones left out.

    Args:
        title: its heading, as plain text.
        head: what stands below the heading.
        parts: its sections.
        runs: what it is about.
    """
    top, body = ("\n".join(part for part in pieces if part) for pieces in (head, parts))
    version = escape(str(runs[0][1].environment.get("relatum", "")))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="generator" content="relatum {version}">
<title>{escape(title)}</title>
<style>
{STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{top}
</header>
<main>
{body}
</main>
<footer>Written by relatum {version} from {counted(len(runs), "run")}.</footer>
</body>
</html>
"""


def heading(summary: Summary) -> str:
    """What the page is about: student, teacher and images."""
    students = summary.methods or summary.students or summary.lines
    names = list(dict.fromkeys(line.network for line in students))
    text = " and ".join(names[:2]) if len(names) < 3 else f"{len(names)} students"
    if summary.methods and summary.teacher is not None:
        text += f" taught by {summary.teacher.network}"
    return f"{text} on {summary.shared['dataset']}"


def _facts(summary: Summary, runs: Runs) -> dict[str, str]:
    line = (summary.methods or summary.students or summary.lines)[0]
    run, shared = line.runs[0], summary.shared
    parts = [f"{number:,} {part}" for part, number in run.samples.items() if number]
    held = {
        "student": f"{line.network}: {_cost(run)}",
        "images": ", ".join(parts),
        "training": f"{shared['epochs']} epochs of batches of {shared['batch_size']}",
        "time": f"{duration(sum(each.seconds for _, each in runs))} in {counted(len(runs), 'run')}",
    }
    teacher = summary.teacher
    if teacher is not None and teacher is not line:
        held["teacher"] = teacher_in_words(teacher.network, teacher.parameters, line.parameters)
        if several := members_in_words(run.teacher):
            held["each of them"] = "; ".join(several)
    if not run.labelled:
        held["labels"] = "not used for training"
    return held


def _cost(run: Record) -> str:
    return f"{short(run.parameters)} parameters, {short(run.macs)} multiply-adds an image"


def _results(summary: Summary, folder: Path, runs: Runs) -> list[str]:
    under = "".join(markup.paragraph(note) for note in summary.notes())
    many = len(summary.methods) > 1
    return [
        markup.bullets(finding(summary, line) for line in summary.methods) if many else "",
        markup.results(summary),
        f'<div class="under">{under}</div>',
        markup.folded("What the columns say", markup.bullets(meanings(summary))),
        markup.folded("Every run", provenance.every_run(folder, runs)),
    ]


def _size(summary: Summary) -> list[str]:
    if len(summary.lines) < 2:
        return []
    pictures = [size_and_quality(summary), differences(summary)]
    return [markup.grid(markup.figure(each) for each in pictures if each)]


def _course(summary: Summary) -> list[str]:
    pictures = course(summary)
    if not pictures:
        return []
    about = (
        "Mean over seeds, in a band of one standard deviation. Losses are those of training,"
        " every term before its weight; norms of gradients, where they were noted, are those of"
        " each term at its weight, with respect to the embedding or to the tap that is named."
    )
    return [
        markup.paragraph(about, "soft"),
        markup.grid(map(markup.figure, pictures), "pictures courses"),
    ]


def _relations(summary: Summary, runs: Runs) -> list[str]:
    shown = matrices.gallery(summary, runs)
    if shown is None:
        return []
    about = (
        f"How alike the same {shown.images} test images are to each network, by the cosine of"
        f" their embeddings. {'Images are sorted by class; each' if shown.labelled else 'Each'}"
        " method shows its lowest seed and, below, where it differs from the teacher: red is more"
        " alike than to the teacher."
    )
    scales = f'<div class="scales">{"".join(map(markup.image, shown.scales))}</div>'
    cards = [
        f'<section class="card"><h3>{escape(title)}</h3>'
        + "".join(markup.figure(each, "plain") for each in pictures)
        + ("" if number else scales)  # the first has room: it is less nobody's
        + "</section>"
        for number, (title, pictures) in enumerate(shown.networks)
    ]
    return [
        markup.paragraph(about, "soft"),
        markup.grid(cards, "pictures matrices"),
        markup.bullets(shown.notes),
    ]
