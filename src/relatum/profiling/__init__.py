"""Where the time of a run goes: labels in the code, a clock that reads them, a trace, a table."""

from relatum.profiling.regions import (
    Watch,
    arriving,
    label,
    labelled,
    region,
    watched,
    watching,
)

__all__ = ["Watch", "arriving", "label", "labelled", "region", "watched", "watching"]
