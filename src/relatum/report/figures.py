"""The papers' figures as sections of a page: maps of the samples, and how classes look alike."""

from html import escape

from relatum.report import markup
from relatum.report.class_correlation import Correlations, correlations
from relatum.report.embedding_map import Maps, maps
from relatum.report.kept import kept
from relatum.report.matrices import classes_of
from relatum.report.provenance import Runs
from relatum.report.table import Summary

OPEN = 12
"""Networks up to which their maps are shown without being asked for."""


def figures(summary: Summary, runs: Runs) -> list[str]:
    """The sections that a pair's runs kept pictures for."""
    networks, classes = kept(summary, runs), classes_of(summary)
    return [
        markup.section("Samples", *_samples(maps(networks, classes))),
        markup.section("Classes", *_classes(correlations(networks, classes))),
    ]


def _samples(drawn: Maps | None) -> list[str]:
    if drawn is None:
        return []
    cards = [
        _card(title, *(markup.figure(each, "plain") for each in pictures))
        for title, pictures in drawn.networks
    ]
    key = f'<div class="scales">{markup.image(drawn.key)}</div>' if drawn.key else ""
    return [markup.paragraph(drawn.about, "soft"), *_cards(cards), key]


def _classes(drawn: Correlations | None) -> list[str]:
    if drawn is None:
        return []
    cards = [_card(title, markup.figure(each, "plain")) for title, each in drawn.networks]
    return [
        markup.paragraph(drawn.about, "soft"),
        *_cards(cards),
        f'<div class="scales">{markup.image(drawn.scale)}</div>',
        markup.folded(
            "As numbers", markup.table(("student", "largest", "mean"), drawn.rows, "Differences")
        ),
    ]


def _card(title: str, *parts: str) -> str:
    return f'<section class="card"><h3>{escape(title)}</h3>{"".join(parts)}</section>'


def _cards(cards: list[str]) -> list[str]:
    first = markup.grid(cards[:OPEN], "pictures matrices")
    rest = markup.grid(cards[OPEN:], "pictures matrices")
    return [first, markup.folded(f"{len(cards) - OPEN} more", rest) if rest else ""]
