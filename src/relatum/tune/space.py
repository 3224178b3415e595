"""What is searched: ``sp.weight=log(1,1e4)``, ``kd.temperature=1..8``, ``batch_size=32|64``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, get_args

from relatum.grammar import own_loss, parse
from relatum.method_names import Part, plain, written
from relatum.methods import METHODS, TASK
from relatum.methods.options import Option, options_of
from relatum.recipes.recipe import Recipe
from relatum.types import Fault

Value = bool | int | float | str
FIXED = (
    *("dataset", "data_root", "image_size", "labels", "validation", "split_seed", "samples"),
    *("method", "balance", "teacher", "seed", "scale", "cache", "microbatch", "shard"),
)
"""Fields of a recipe that say what is compared, or change no number: they are not searched."""
DIGITS = 4
"""Significant digits of what is tried, so that it can be written down as it was."""


@dataclass(frozen=True)
class Dimension:
    """One thing that is searched.

    Attributes:
        name: a field of the recipe, ``METHOD.weight``, or ``METHOD.OPTION`` of its loss.
        low: the least of a range.
        high: the most of it.
        log: whether equal factors count alike, and not equal differences.
        whole: whether it is a whole number.
        choices: the values, where it is no range.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[Value, ...] = ()

    @property
    def ends(self) -> tuple[Value, Value]:
        """Its least and its most, or the first and the last choice."""
        if self.choices:
            return self.choices[0], self.choices[-1]
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    @property
    def text(self) -> str:
        """As ``dimension`` reads it."""
        if self.choices:
            return f"{self.name}={'|'.join(map(str, self.choices))}"
        low, high = self.ends
        return f"{self.name}={'log' if self.log else 'uniform'}({low},{high})"

    def rounded(self, value: Value) -> Value:
        """A value with as many digits as are tried, within the range."""
        if self.choices or self.whole or not isinstance(value, float):
            return value
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


def dimension(text: str, recipe: Recipe) -> Dimension:
    """Read what a text wants searched of a recipe.

    Args:
        text: ``NAME=log(LOW,HIGH)``, ``NAME=LOW..HIGH`` or ``NAME=ONE|OTHER|…``.
        recipe: what is varied.

    Raises:
        Fault: it cannot be read, or the recipe has no such thing.

    Example:
        >>> dimension("learning_rate=log(0.005,0.5)", Recipe())
        Dimension(name='learning_rate', low=0.005, high=0.5, log=True, whole=False, choices=())
    """
    name, equals, domain = (word.strip() for word in text.partition("="))
    if not (name and equals and domain):
        raise Fault(
            f"--search wants NAME=log(LOW,HIGH), NAME=LOW..HIGH or NAME=ONE|OTHER, got {text!r}"
        )
    whole = _is_whole(name, recipe)
    found = _range(name, domain, whole) or _choice(name, domain)
    if found is None:
        raise Fault(
            f"--search {name}: a range is log(LOW,HIGH) or LOW..HIGH, a choice ONE|OTHER; got"
            f" {domain!r}"
        )
    for value in found.choices or found.ends:
        if name == "epochs" and isinstance(value, int | float) and value < 1:
            raise Fault(f"--search epochs: what is judged needs one epoch at least, got {domain!r}")
        parse(applied(recipe, {name: value}).method)
    return found


def dimensions(texts: Sequence[str], recipe: Recipe) -> tuple[Dimension, ...]:
    """All that is searched.

    Raises:
        Fault: one text cannot be read, nothing is searched, or a thing twice.
    """
    if not texts:
        raise Fault("nothing is searched; name what is: --search 'learning_rate=log(0.005,0.5)'")
    found = [dimension(text, recipe) for text in texts]
    names = [each.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise Fault(f"--search names {name} twice")
    return tuple(found)


def applied(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    """The recipe with these values, each in its place: a field, a weight or an option.

    Raises:
        Fault: one has no place, or the recipe cannot have it.
    """
    parts = list(parse(recipe.method))
    fields: dict[str, Any] = {}
    for name, value in values.items():
        term, dot, option = name.rpartition(".")
        if not dot:
            fields[name] = value
            continue
        place = _place(term, parts, recipe.method)
        parts[place] = _with(parts[place], option, value)
    return recipe.but(method=written(parts), **fields) if values else recipe


def _with(part: Part, option: str, value: Value) -> Part:
    if option == "weight":
        return replace(part, weight=float(value))
    return replace(part, options=tuple({**dict(part.options), option: value}.items()))


def _place(term: str, parts: list[Part], method: str) -> int:
    """Which part of a method is meant; cross-entropy is joined where it is not named."""
    term = TASK if term == "task" else term
    if term == TASK and not any(part.name == TASK for part in parts):
        parts.append(Part(TASK))
    meant = [
        place
        for place, part in enumerate(parts)
        if term in (part.name, written([replace(part, weight=None, options=())]))
    ]
    if len(meant) != 1:
        names = ", ".join(dict.fromkeys([*(part.name for part in parts), TASK]))
        what = "is there twice; name its tap too" if meant else f"is not in it; it has {names}"
        raise Fault(f"--search {term}.…: the method is {method!r}, and {term!r} {what}")
    return meant[0]


def _is_whole(name: str, recipe: Recipe) -> bool:
    """Whether a thing is a whole number.

    Raises:
        Fault: there is no such thing, or it is not to be searched.
    """
    term, dot, option = name.rpartition(".")
    if not dot:
        return _is_whole_field(name)
    parts = list(parse(recipe.method))
    part = parts[_place(term, parts, recipe.method)]
    if option == "weight":
        if recipe.balance is not None:
            raise Fault(f"--search {name}: balance finds the weights; leave one of them out")
        return False
    there = _options(part.name)
    if option not in there:
        near = get_close_matches(option, [*there, "weight"], n=1, cutoff=0)[0]
        has = ", ".join(["weight", *there])
        raise Fault(f"--search {name}: {term} has {has}; the nearest is {near!r}")
    return int in there[option].kinds and float not in there[option].kinds


def _options(name: str) -> Mapping[str, Option]:
    if name == TASK:
        return {}
    return METHODS[name].options if name in METHODS else options_of(own_loss(name))


def _is_whole_field(name: str) -> bool:
    if name in FIXED:
        raise Fault(f"--search {name}: it says what is compared, or changes no number; --set it")
    if name not in Recipe.model_fields:
        near = get_close_matches(name, [each for each in Recipe.model_fields if each not in FIXED])
        hint = f"; the nearest is {near[0]!r}" if near else ""
        raise Fault(
            f"--search {name}: there is no such field of a recipe{hint} (of a method's loss:"
            " METHOD.weight, METHOD.OPTION)"
        )
    annotation = Recipe.model_fields[name].annotation
    kinds = {annotation, *get_args(annotation)}
    return int in kinds and float not in kinds


def _range(name: str, text: str, whole: bool) -> Dimension | None:
    found = re.fullmatch(r"(?:(log|uniform)\((.+),(.+)\))|(?:(.+)\.\.(.+))", text)
    if found is None:
        return None
    kind, *ends = (each for each in found.groups() if each is not None)
    if kind not in ("log", "uniform"):
        kind, ends = "uniform", [kind, *ends]
    try:
        low, high = (float(each) for each in ends)
    except ValueError:
        raise Fault(f"--search {name}: {text!r} has an end that is no number") from None
    if not -float("inf") < low < high < float("inf"):
        raise Fault(f"--search {name}: a range goes from a lower number up, got {text!r}")
    if kind == "log" and low <= 0:
        raise Fault(f"--search {name}: a range of factors begins over 0, got {text!r}")
    if whole and not (low.is_integer() and high.is_integer()):
        raise Fault(f"--search {name}: it is a whole number, got {text!r}")
    return Dimension(name, low, high, kind == "log", whole)


def _choice(name: str, text: str) -> Dimension | None:
    choices = tuple(plain(each.strip()) for each in text.split("|"))
    if len(choices) < 2 or "" in choices:
        return None
    if len(set(choices)) < len(choices):
        raise Fault(f"--search {name}: a choice is there twice in {text!r}")
    return Dimension(name, choices=choices)
