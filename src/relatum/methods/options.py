"""What a loss is built with, where somebody wants it otherwise than its method has it."""

import inspect
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import wraps
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from torch import nn

from relatum.spelling import Options
from relatum.types import Fault

FITTED = re.compile(
    "labels|num_samples|samples|classes|(student_|teacher_)(dims?|shapes?|channels)"
)
"""What is read off the networks and the set."""
_ONE = threading.RLock()


def options_of(loss: type[nn.Module]) -> Mapping[str, frozenset[type]]:
    """What may be changed of a loss, by its name, and of which kinds it can be.

    Numbers, truths and words of its constructor that have a default; not what fits it to the
    networks and to the set.
    """
    found: dict[str, frozenset[type]] = {}
    for each in inspect.signature(loss).parameters.values():
        if each.default is not each.empty and not FITTED.fullmatch(each.name):
            kinds = _kinds(each.annotation) or {type(each.default)} & set(_KINDS)
            found |= {each.name: frozenset(kinds)} if kinds else {}
    return found


def _kinds(annotation: Any) -> set[type]:
    """The plain types of which an annotation allows values."""
    if get_origin(annotation) is Literal:
        return {type(each) for each in get_args(annotation)}
    if annotation in _KINDS:
        return {annotation}
    if get_origin(annotation) not in (Union, UnionType):
        return set()
    return {kind for each in get_args(annotation) for kind in _kinds(each)}


def check_options(name: str, loss: type[nn.Module], options: Options) -> None:
    """Refuse options that a loss does not have, and values of another kind.

    Args:
        name: of the method, for the message.
        loss: what is built.
        options: asked for.

    Raises:
        Fault: one of them cannot be.
    """
    there = options_of(loss)
    for option, value in options:
        if option not in there:
            near = get_close_matches(option, there, n=1, cutoff=0)
            has = (
                f"the nearest is {near[0]!r} (it has {', '.join(there)})" if near else "it has none"
            )
            raise Fault(f"{name} has no option {option!r}; {has}")
        kinds = there[option]
        if type(value) not in kinds and not (type(value) is int and float in kinds):
            wanted = " or ".join(sorted(_KINDS[kind] for kind in kinds))
            raise Fault(f"{name}: {option} is {wanted}, got {value!r}")


_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
}


@contextmanager
def built_with(loss: type[nn.Module], options: Options) -> Iterator[None]:
    """Have a class built with these arguments meanwhile, whatever else its builder says.

    A method's function knows its paper's numbers and the widths of the networks, and nothing of
    what a user asks for: so the constructor of its loss hears that here, in this thread alone and
    for this class alone, those derived from it not included.
    """
    if not options:
        yield
        return
    usual, own = loss.__init__, "__init__" in vars(loss)
    signature, asked = inspect.signature(usual), threading.get_ident()

    @wraps(usual)
    def build(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        if type(self) is loss and threading.get_ident() == asked:
            bound = signature.bind_partial(self, *args, **kwargs)
            bound.arguments.update(options)
            args, kwargs = bound.args[1:], bound.kwargs
        usual(self, *args, **kwargs)

    with _ONE:
        loss.__init__ = build  # type: ignore[method-assign]
        try:
            yield
        finally:
            if own:
                loss.__init__ = usual  # type: ignore[method-assign]
            else:
                del loss.__init__
