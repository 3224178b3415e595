"""The named methods: which losses, on which taps, with the papers' weights.

A method is a function from a ``Setting`` to its stages. To add one: its loss, a line in
``losses/__init__.py``, a function and a line in the file of its family here, and its test.
"""

from relatum.method_names import TASK
from relatum.methods.embedding import EMBEDDING
from relatum.methods.later_maps import LATER_MAPS
from relatum.methods.logits import LOGITS
from relatum.methods.maps import MAPS
from relatum.methods.method import Method
from relatum.methods.setting import Says, Setting
from relatum.methods.stage import Stage, task
from relatum.methods.transfer import TRANSFER

__all__ = ["METHODS", "TASK", "Method", "Says", "Setting", "Stage", "task"]

METHODS: dict[str, Method] = {**LOGITS, **MAPS, **LATER_MAPS, **EMBEDDING, **TRANSFER}
"""Every method by its name on the command line."""
