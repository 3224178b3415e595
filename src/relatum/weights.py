"""Weights in files that are complete or absent, and that never run code when they load."""

import contextlib
import hashlib
import json
import os
import re
import warnings
from collections.abc import Mapping
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

    Raises:
        Fault: the file is missing, damaged or holds no weights.
    """
    return frozenset(map(_digest, _read(path)))


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
    """What a file holds, by a network's own names if it can be read so.

    Raises:
        Fault: the file is missing, damaged or holds no weights.
    """
    every, names = _read(path), set(network.state_dict())
    return next((each for each in every if set(each) == names), every[-1])


def _read(path: Path) -> list[Mapping[str, Tensor]]:
    """The readings of safetensors, or of a pickle that holds nothing but tensors and numbers.

    ``weights_only`` sees to that, so nothing in the file can run.
    """
    if not path.exists():
        raise Fault(f"there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with warnings.catch_warnings(action="ignore"):  # of what is refused in a moment
                content = torch.load(path, map_location="cpu", weights_only=True)
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
