"""A hub that does not answer is asked again and again, which is said in one line."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

ASKS = "huggingface_hub.utils._http"
"""The logger that tells of each failure, and of each wait before the next of five times."""
SAID = (
    "the Hugging Face hub does not answer; it is asked again, for a minute or so"
    " (HF_HUB_OFFLINE=1 takes only what was fetched before)"
)


class _Once(logging.Filter):
    """Lets one line through, in words of its own, for all that tell of asking again."""

    def __init__(self) -> None:
        super().__init__()
        self._said = False

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if "thrown while requesting" not in text and not text.startswith("Retrying in"):
            return True
        record.msg, record.args = SAID, ()
        said, self._said = self._said, True
        return not said


_ONCE = _Once()


@contextmanager
def told_once() -> Iterator[None]:
    """Have what may ask the hub tell once that it does not answer."""
    logger = logging.getLogger(ASKS)
    logger.addFilter(_ONCE)  # which a logger has once, however often it is added
    try:
        yield
    finally:
        logger.removeFilter(_ONCE)
