"""What may be changed of a method's loss (``kd(temperature=2)``), and what is refused."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from torch import nn

from relatum.method_names import Options
from relatum.types import Fault

FITTED = re.compile(
    "labels|num_samples|samples|classes|(student_|teacher_)(dims?|shapes?|channels)"
)
"""What is read off the networks and the set."""


@dataclass(frozen=True)
class Option:
    """What an argument of a loss can be.

    Attributes:
        kinds: types of its values.
        words: those that there are; empty where the loss itself knows, or takes none.
    """

    kinds: frozenset[type]
    words: tuple[str, ...]

    def takes(self, value: object) -> bool:
        """Whether a value is of one of its kinds, and one of its words if those are known."""
        if isinstance(value, str) and self.words:
            return value in self.words
        return type(value) in self.kinds or (type(value) is int and float in self.kinds)

    @property
    def text(self) -> str:
        """What it takes, in words."""
        plain = [_KINDS[kind] for kind in self.kinds if not (kind is str and self.words)]
        return " or ".join([*sorted(plain), *map(repr, self.words)])

    def described(self, default: object) -> str:
        """What it takes and what it is by default, for a list.

        Args:
            default: its usual value, or words about it; ``None`` where there is nothing to say.

        Example:
            >>> Option(frozenset({str}), ("cos", "mse")).described("cos")
            'cos (default), mse'
            >>> Option(frozenset({float}), ()).described(4.0)
            'a number (default 4)'
        """
        plain = sorted(_KINDS[kind] for kind in self.kinds if not (kind is str and self.words))
        words = [f"{each} (default)" if each == default else each for each in self.words]
        listed = ", ".join([*plain, *words])
        if default is None or default in self.words:
            return listed
        return f"{listed} (default {_shown(default)})"


def _shown(value: object) -> str:
    """As it is typed."""
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
}


def options_of(loss: type[nn.Module]) -> Mapping[str, Option]:
    """What may be changed of a loss, by its name.

    Numbers, truths and words of its constructor that have a default; not what fits it to the
    networks and to the set.

    Example:
        >>> from relatum.losses import KD
        >>> options_of(KD)["temperature"].text
        'a number'
    """
    found: dict[str, Option] = {}
    for each in inspect.signature(loss).parameters.values():
        if each.default is each.empty or FITTED.fullmatch(each.name):
            continue
        kinds = _kinds(each.annotation) or {type(each.default)} & set(_KINDS)
        if kinds:
            found[each.name] = Option(frozenset(kinds), _words(each.annotation))
    return found


def check_options(
    name: str,
    there: Mapping[str, Option],
    options: Options,
    elsewhere: Mapping[str, str] | None = None,
) -> None:
    """Refuse options that there are not, and values that they do not take.

    Args:
        name: of the method, for the message.
        there: its options (``Method.options``).
        options: asked for.
        elsewhere: methods that have what this one has not (``Method.elsewhere``).

    Raises:
        Fault: one of them cannot be.
    """
    for option, value in options:
        if other := (elsewhere or {}).get(option):
            raise Fault(f"{name} has no option {option!r}; that is for the method {other!r}")
        if option not in there:
            near = get_close_matches(option, there, n=1, cutoff=0)
            has = (
                f"the nearest is {near[0]!r} (it has {', '.join(there)})" if near else "it has none"
            )
            raise Fault(f"{name} has no option {option!r}; {has}")
        if not there[option].takes(value):
            raise Fault(f"{name}: {option} is {there[option].text}, got {value!r}")


def _kinds(annotation: Any) -> set[type]:
    """The plain types of which an annotation allows values."""
    if get_origin(annotation) is Literal:
        return {type(each) for each in get_args(annotation)}
    if annotation in _KINDS:
        return {annotation}
    if get_origin(annotation) not in (Union, UnionType):
        return set()
    return {kind for each in get_args(annotation) for kind in _kinds(each)}


def _words(annotation: Any) -> tuple[str, ...]:
    """The words that an annotation lists; none where it allows any."""
    if get_origin(annotation) is Literal:
        return tuple(each for each in get_args(annotation) if isinstance(each, str))
    if get_origin(annotation) not in (Union, UnionType):
        return ()
    return tuple(word for each in get_args(annotation) for word in _words(each))
