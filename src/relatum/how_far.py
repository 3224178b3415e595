"""How far something is that may take minutes before a run begins: told to whoever listens.

A library user hears nothing. The command listens (``relatum.cli.reading``).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

Advance = Callable[[int], None]
"""Called with how many more are done."""
Listener = Callable[[str, int], AbstractContextManager[Advance]]
"""Called with what begins and how many there are; left when it ends."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Have a listener told of what this thread does meanwhile; the innermost one is."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


@contextmanager
def told(what: str, count: int) -> Iterator[Advance]:
    """Tell how far something is.

    Args:
        what: is done, in a few words.
        count: of its parts.

    Example:
        >>> with told("counting sheep", 3) as advance:
        ...     for _ in range(3):
        ...         advance(1)
    """
    listener = _listener.get()
    if listener is None:
        yield lambda many: None
        return
    with listener(what, count) as advance:
        yield advance
