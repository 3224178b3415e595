"""One page that holds everything: written once, opened anywhere, and asks nobody for anything."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

from relatum import checkpoint
from relatum.record import Record, find
from relatum.report import matrices
from relatum.report.canvas import Picture
from relatum.report.course import course
from relatum.report.pictures import size_and_quality
from relatum.report.provenance import again, environment, recipes, remarks, runs_table
from relatum.report.style import CSS
from relatum.report.table import Summary, summarise
from relatum.report.tables import html_table
from relatum.report.verdict import finding, verdict
from relatum.report.words import counted, duration, short

NAME = "report.html"
