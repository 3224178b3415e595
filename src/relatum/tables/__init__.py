"""Tables in a teacher's place: embeddings or logits of every image, from wherever they come."""

from relatum.tables.match import Matched, match, of_part, refuse_missing
from relatum.tables.read import Table, read
from relatum.tables.teacher import EmbeddingTable, Rows

__all__ = [
    "EmbeddingTable",
    "Matched",
    "Rows",
    "Table",
    "match",
    "of_part",
    "read",
    "refuse_missing",
]
