"""A search for weights, temperatures and learning rates, on the validation part alone."""

from relatum.tune.space import Dimension, applied, dimension
from relatum.tune.study import Search, search
from relatum.tune.trial import Tried, Trying

__all__ = ["Dimension", "Search", "Tried", "Trying", "applied", "dimension", "search"]
