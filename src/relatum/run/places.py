"""The places in networks that a method's name names by the paths of modules: ``sp@layer3``."""

from difflib import get_close_matches
from typing import Literal

from torch import nn

from relatum.discovery import tap_at
from relatum.grammar import parse
from relatum.taps import Tap, Tapped
from relatum.types import Fault, Images

Role = Literal["student", "teacher"]


def named_places(method: str) -> tuple[str, ...]:
    """What a method's name has behind its ``@``."""
    found = (part.on for part in parse(method) if part.on is not None)
    return tuple(name for on in found for name in ((on,) if isinstance(on, str) else on))


def with_places(tapped: Tapped, names: tuple[str, ...], role: Role, images: Images) -> Tapped:
    """A network with a tap for each place that is named by a path, under that very name.

    Args:
        tapped: with the taps that it has.
        names: of taps, or paths of modules; ``STUDENT:TEACHER`` where the two networks have one
            each.
        role: which of them this one is.
        images: some.

    Raises:
        Fault: there is no such tap and no such module.
    """
    new: dict[str, Tap | tuple[Tap, ...]] = {}
    for name in names:
        if name not in tapped.taps and name != "output":
            new[name] = _place(tapped, name, role, images)
    if not new:
        return tapped
    taps, input = {**tapped.taps, **new}, tapped.input
    return Tapped(tapped.only(set()).network, taps, input)


def _place(tapped: Tapped, name: str, role: Role, images: Images) -> Tap | tuple[Tap, ...]:
    student, colon, teacher = name.partition(":")
    path = teacher if colon and role == "teacher" else student
    if path in tapped.taps:
        return tapped.taps[path]
    if path == "output":
        return Tap("")
    paths = [each for each, _ in tapped.network.named_modules() if each]
    if path not in paths:
        there = list(dict.fromkeys([*tapped.taps, *paths]))
        raise Fault(_unknown(tapped.network, path, role, there, list(tapped.taps)))
    return tap_at(tapped.network, path, tapped.prepare(images))


def _unknown(network: nn.Module, path: str, role: Role, there: list[str], taps: list[str]) -> str:
    near = get_close_matches(path, there, n=3, cutoff=0.4)
    nearest = f"the nearest are {', '.join(near)}; " if near else ""
    return (
        f"the {role} ({type(network).__name__}) has no tap and no module {path!r}; {nearest}its"
        f" taps are {', '.join(taps) or 'none'} (METHOD@TAP, or METHOD@STUDENT:TEACHER where the"
        " two differ; relatum inspect MODEL --modules lists paths)"
    )
