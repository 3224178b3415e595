"""A process that fills a cache, slowly enough to be killed: python -m tests.cache.killed FOLDER."""

import sys
import time
from pathlib import Path

from torch import Tensor

from tests import toys
from tests.cache.asked import ask
from tests.cache.test_fill import VIEWED

if __name__ == "__main__":
    teacher = toys.teacher()

    def slowly(module: object, given: tuple[Tensor, ...]) -> None:
        time.sleep(0.01)

    teacher.network.register_forward_pre_hook(slowly)
    ask(teacher, VIEWED, Path(sys.argv[1]))
