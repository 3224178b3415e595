"""One file of a cache: what a teacher says at one tap, of one view of some samples in a row."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from relatum.cache.identity import FACTS, bytes_of
from relatum.types import Fault, first_line
from relatum.weights import write

ROWS = 1024
"""Samples of a shard: what a killed process has to compute again, at most."""
_KINDS = {
    str(each).removeprefix("torch."): each
    for each in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
LARGEST_HALF = torch.finfo(torch.float16).max


def compact(values: Tensor) -> Tensor:
    """Values as they are stored: maps in half of float32's room, where they fit into it.

    Vectors keep their bits. Maps (more than one axis behind the batch) of float32 become
    float16, which keeps some three significant digits; those with a value beyond 65,504, or so
    small that these digits are lost, stay as they are, since bfloat16 would keep but two. What a
    teacher says in half precision stays as it says it.
    """
    fits = values.dtype == torch.float32 and values.ndim > 2
    if not fits or not bool((values.abs() <= LARGEST_HALF).all()):
        return values
    half = values.half()
    lost = (half.float() - values).flatten(1).norm(dim=1) > 1e-3 * values.flatten(1).norm(dim=1)
    return values if bool(lost.any()) else half


@dataclass(frozen=True, eq=False)
class Shard:
    """What a file holds.

    Attributes:
        layers: samples × … each, memory-mapped: pages come from disk when they are read.
        spoken: the type in which the teacher said each.
    """

    layers: tuple[Tensor, ...]
    spoken: tuple[torch.dtype, ...]


def write_shard(path: Path, said: Sequence[Tensor], about: Mapping[str, Any]) -> Shard:
    """Write what a teacher says of some samples, with its sum and what it is of, whole or not."""
    layers = [compact(each).contiguous() for each in said]
    kinds = tuple(each.dtype for each in said)
    words = {"spoken": [_NAMES[each] for each in kinds], "sha256": _digest(layers)}
    metadata = {"about": json.dumps({**about, **words})}
    write(path, save({str(place): each for place, each in enumerate(layers)}, metadata=metadata))
    return Shard(tuple(layers), kinds)


def read_shard(path: Path, about: Mapping[str, Any]) -> Shard:
    """Look at a file; its bytes are summed once for as long as it stays the same.

    Args:
        path: the file.
        about: what it must say of itself.

    Raises:
        Fault: it is missing, truncated or damaged, or of another cache; says of what.
    """
    way_out = "delete it, and it is computed again"
    try:
        with safetensors.safe_open(path, "pt") as file:
            said = json.loads((file.metadata() or {}).get("about", "{}"))
            layers = tuple(file.get_tensor(str(each)) for each in range(len(file.keys())))
            kinds = tuple(_KINDS[each] for each in said.get("spoken", ()))
    except FileNotFoundError as error:
        raise Fault(f"the cache lacks {path}; fill it again by relatum cache") from error
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise Fault(f"{path} is no whole shard ({first_line(error)}); {way_out}") from error
    kept = said.get("sha256")
    if wrong := [name for name in about if said.get(name) != about[name]]:
        raise Fault(f"{path} is of another cache: {_differs(wrong[0], said, about)}; {way_out}")
    state = path.stat()
    if _summed(path, state.st_mtime_ns, state.st_size, len(layers)) != kept:
        raise Fault(f"{path} is damaged: its bytes are not those that were written; {way_out}")
    return Shard(layers, kinds)


def _differs(name: str, said: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    if name != "facts":
        return f"its {name} is {said.get(name)!r}, wanted {about[name]!r}"
    there, here = said.get("facts") or {}, about["facts"]
    words = [word for fact, word in FACTS.items() if there.get(fact) != here.get(fact)]
    return f"{', '.join(words)} differ"


def _digest(layers: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for each in layers:
        digest.update(f"{each.dtype} {tuple(each.shape)}".encode())
        digest.update(bytes_of(each))
    return digest.hexdigest()


@lru_cache(maxsize=1 << 16)
def _summed(path: Path, changed: int, size: int, layers: int) -> str:
    with safetensors.safe_open(path, "pt") as file:
        return _digest([file.get_tensor(str(each)) for each in range(layers)])
