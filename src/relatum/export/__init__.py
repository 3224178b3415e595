"""A trained student as files that others run: written, opened again, and compared with it."""

from relatum.export.formats import FORMATS
from relatum.export.graph import Graph
from relatum.export.job import export
from relatum.export.source import Source, source_of

__all__ = ["FORMATS", "Graph", "Source", "export", "source_of"]
