"""Pieces of HTML. Every text that comes in is escaped here, and nowhere else."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from urllib.parse import quote

from relatum.report.canvas import Picture
from relatum.report.columns import Column
from relatum.report.table import Summary
from relatum.report.words import NOTHING


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph, of a class or of none."""
    return f"<p{_class(kind)}>{_prose(text)}</p>"


def bullets(texts: Iterable[str]) -> str:
    """A list of sentences; nothing where there are none."""
    items = "".join(f"<li>{_prose(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""


def facts(pairs: Mapping[str, str]) -> str:
    """Names and values, in a grid."""
    held = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in pairs.items()
    )
    return f'<dl class="facts">{held}</dl>'


def section(title: str, *parts: str) -> str:
    """A part of the page; nothing where it would be empty."""
    body = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>" if body else ""


def folded(title: str, *parts: str) -> str:
    """What is there for who asks."""
    body = "\n".join(part for part in parts if part)
    return f"<details><summary>{escape(title)}</summary>\n{body}\n</details>" if body else ""


def figure(picture: Picture, kind: str = "card") -> str:
    """A picture with its text."""
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    return f'<figure class="{kind}">{caption}{image(picture)}</figure>'


def image(picture: Picture) -> str:
    """A picture alone."""
    return (
        f'<img src="{escape(picture.source)}" alt="{escape(picture.alt)}"'
        f' width="{picture.width}" height="{picture.height}">'
    )


def code(text: str) -> str:
    """Lines to be typed."""
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'


def link(text: str, place: str) -> str:
    """A way to another page of the same folder."""
    return f'<p><a href="{escape(quote(place))}">{escape(text)}</a></p>'


def grid(items: Iterable[str], kind: str = "pictures") -> str:
    """Things side by side, as many as there is room for."""
    held = "\n".join(items)
    return f'<div class="{kind}">\n{held}\n</div>' if held else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], about: str) -> str:
    """A table of texts; the first column names the rows, and wide ones scroll by themselves."""
    head = "".join(f'<th scope="col"{_class("left")}>{escape(each)}</th>' for each in heads)
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f'<td class="left">{escape(cell) or NOTHING}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return _scrolling(f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>", about)


def results(summary: Summary) -> str:
    """The table of a summary: differences that are clear are bold, teachers stand apart."""
    kinds = ["" if line.kind == "method" else "reference" for line in summary.lines]
    return columns(summary.columns(), kinds, "Results")


def columns(held: Sequence[Column], kinds: Sequence[str], about: str) -> str:
    """A table of columns, the first of which names the lines.

    Args:
        held: the columns.
        kinds: a class for each line, or an empty text.
        about: what the table is called by who does not see it.
    """
    head = "".join(
        f'<th scope="col"{_class("left" if column.left else "")}>{escape(column.heading)}</th>'
        for column in held
    )
    body = list[str]()
    for index, kind in enumerate(kinds):
        cells = [f'<th scope="row">{escape(held[0].cells[index])}</th>']
        for column in held[1:]:
            looks = ["left"] * column.left + ["clear"] * (index in column.bold)
            text = _prose(column.cells[index]) or NOTHING
            cells.append(f"<td{_class(' '.join(looks))}>{text}</td>")
        body.append(f"<tr{_class(kind)}>{''.join(cells)}</tr>")
    rows = "\n".join(body)
    return _scrolling(
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>", about, "results"
    )


def _scrolling(inner: str, about: str, kind: str = "") -> str:
    label = escape(about)
    return (
        f'<div class="wide" role="region" aria-label="{label}" tabindex="0">'
        f'<table{_class(kind)} aria-label="{label}">\n{inner}\n</table></div>'
    )


def _prose(text: str) -> str:
    """Escaped, with numbers kept beside their sign."""
    return escape(text).replace(" %", "\N{NO-BREAK SPACE}%")


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
