"""Weights in files that are complete or absent, and that never run code when they load."""

import contextlib
import hashlib
import json
import os
import re
import warnings
from argparse import Namespace
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from relatum.foreign_weights import readings
from relatum.sharding import full_state, load_full_state
from relatum.types import Fault, first_line

_PLAIN = "give one of weights alone, as torch.save(network.state_dict(), FILE) makes it"
INDEX = ".index.json"
"""How the list ends of which of several files holds which weights, as transformers has it."""
_FOREIGN = re.compile(r"GLOBAL ([\w.]{1,80})")


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: to a temporary name, synced, then renamed.

    Raises:
        Fault: the system refused, for want of space or of rights; what was there still is.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        with contextlib.suppress(OSError):  # not every system can sync a folder
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise Fault(f"cannot write {path}: {error.strerror or error}") from error
    finally:  # a second Ctrl-C leaves nothing behind either
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def save_weights(network: nn.Module, path: Path, about: Mapping[str, str] | None = None) -> None:
    """Save a bare network's parameters and buffers as safetensors.

    Args:
        network: loads them again by ``load_state_dict``, under its own names.
        path: where to.
        about: what the file shall say of itself, for ``about_weights``.
    """
    save_state(state_of(network), path, about)


def save_state(
    state: Mapping[str, Tensor], path: Path, about: Mapping[str, str] | None = None
) -> None:
    """As ``save_weights``, for what ``state_of`` gave."""
    write(path, _ordered(save(dict(state), metadata={**(about or {}), "format": "pt"})))


def _ordered(content: bytes) -> bytes:
    """A safetensors file whose metadata is in order, so that equal weights give equal files.

    The format: eight bytes for the header's length, the header, padded to eight, the data.
    """
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[start:]


def about_weights(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself.

    Raises:
        Fault: the file is missing or damaged.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise Fault(f"{path} holds no readable weights: {first_line(error)}") from error


def fingerprint(network: nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers, names included."""
    return _digest(state_of(network))


def fingerprints_of(path: Path) -> frozenset[str]:
    """The same of what a file holds: one, or one for each wrapping of another code base's file.

    Half precision is counted as it was saved, and as a network of float32 holds it.

    Raises:
        Fault: the file is missing, damaged or holds no weights.
    """
    every = _read(path)
    raised = [{name: _raised(value) for name, value in each.items()} for each in every]
    return frozenset(map(_digest, [*every, *raised]))


def known_fingerprints(path: Path) -> frozenset[str]:
    """As ``fingerprints_of``, computed once for as long as the file stays the same.

    Raises:
        Fault: likewise.
        OSError: there is no such file.
    """
    about = path.stat()
    return _known_fingerprints(path.absolute(), about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=64)
def _known_fingerprints(path: Path, changed: int, size: int) -> frozenset[str]:
    return fingerprints_of(path)


def _raised(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _digest(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_weights(network: nn.Module, path: Path) -> None:
    """Load what ``save_weights`` saved, or any file of such names, into a network.

    Checkpoints of RepDistiller, giakoumoglou/distillers and mdistiller are such files
    (``relatum.foreign_weights``).

    Raises:
        Fault: the file is missing, damaged, or of another network.
    """
    load_state(network, weights_in(path, network), path)


def weights_in(path: Path, network: nn.Module) -> Mapping[str, Tensor]:
    """What a file holds, by a network's own names if it can be read so, or by most of them.

    Raises:
        Fault: the file is missing, damaged or holds no weights.
    """
    every, names = _read(path), set(network.state_dict())
    exact = next((each for each in every if set(each) == names), None)
    return exact or max(reversed(every), key=lambda each: len(names & set(each)))


def _read(path: Path) -> list[Mapping[str, Tensor]]:
    """The readings of safetensors, or of a pickle that holds nothing but tensors and numbers."""
    content = _sharded(path) if path.name.endswith(INDEX) else _content(path)
    if not (every := list(readings(content))):
        has = [repr(name)[:40] for name in content][:5] if isinstance(content, dict) else []
        raise Fault(
            f"{path} is no file of plain tensors by name{': it has ' if has else ''}"
            f"{', '.join(has)}"
        )
    for name, value in every[0].items():
        if what := _not_plain(value):
            raise Fault(f"{path}: {name} is {what}, and no plain tensor; save it as one")
    return every


def _content(path: Path) -> Any:
    """What one file holds. ``weights_only`` sees to it that nothing in the file can run.

    What parsed a command line may be there too, as in checkpoints of timm and torchvision: it
    holds values by name, and does nothing.
    """
    if not path.exists():
        raise Fault(f"there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with (
            warnings.catch_warnings(action="ignore"),  # of what is refused in a moment
            torch.serialization.safe_globals([Namespace]),
        ):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (safetensors.SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        if "TorchScript" in str(error):  # what torch says of it ends in how to load it all the same
            raise Fault(
                f"{path} is a TorchScript file, which holds code, so it was not loaded; {_PLAIN}"
            ) from error
        raise Fault(f"{path} holds no readable weights: {first_line(error)}") from error
    except Exception as error:  # weights_only refuses a pickle in many words
        foreign = _FOREIGN.search(str(error))
        raise Fault(
            f"{path} is no file of plain tensors{f' (it has {foreign[1]})' if foreign else ''}, so"
            f" it was not loaded: such a file can run code; {_PLAIN}"
        ) from error


def _sharded(path: Path) -> dict[str, Tensor]:
    """What the files beside an index hold together."""
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(files.values()))
    except FileNotFoundError as error:
        raise Fault(f"there is no file {path}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Fault(f"{path} is no index of weights: {first_line(error)}") from error
    found: dict[str, Tensor] = {}
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise Fault(f"{path} names {name!r}, and files beside it alone are read")
        if not isinstance(held := _content(path.with_name(name)), dict):
            raise Fault(f"{path.with_name(name)} is no file of plain tensors by name")
        found.update(held)
    if absent := sorted(set(files) - set(found)):
        raise Fault(f"{path} names {absent[0]!r}, which {files[absent[0]]} does not hold")
    return found


def _not_plain(value: Tensor) -> str:
    """What a tensor is that no parameter can be copied from; empty for one that is plain."""
    if value.is_meta:
        return "without values (on the device meta)"
    if value.layout != torch.strided:
        return f"sparse ({value.layout})"
    return "quantized" if value.is_quantized else ""


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """A copy of its parameters and buffers on the CPU; what shared memory is doubled.

    All processes ask together for those of a network in parts.
    """
    return {name: value.contiguous() for name, value in full_state(network).items()}


def load_state(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load parameters and buffers that a file held.

    Raises:
        Fault: they are of another network, which stays as it was.
    """
    own = network.state_dict()
    wrong = [name for name in own if name in state and own[name].shape != state[name].shape]
    if wrong:
        name = wrong[0]
        raise Fault(
            f"{path} is of another network: {name} is {tuple(state[name].shape)} there and"
            f" {tuple(own[name].shape)} here"
        )
    for name, value in state.items():
        if name in own and value.is_complex() and not own[name].is_complex():
            raise Fault(f"{path} is of another network: {name} is complex there and real here")
    if unequal := sorted(set(own) ^ set(state)):
        there = "has" if unequal[0] in state else "lacks"
        raise Fault(f"{path} is of another network: it {there} {unequal[0]!r}")
    load_full_state(network, state)
