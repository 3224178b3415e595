"""Ask a teacher what is missing of its cache, once, and give it back as a ``CachedTeacher``."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from relatum.cache.identity import Identity
from relatum.cache.shards import ROWS, compact, write_shard
from relatum.cache.store import OUTPUT, Place, Store, in_words
from relatum.cache.values import held, room_on
from relatum.checkpoint import Interrupted, Stop
from relatum.data import Batches
from relatum.teachers import CachedTeacher, Teacher
from relatum.types import Batch, Captured, Fault, Images

LOOKED_AT, PLACES = 8, 4
"""Samples in a row, and places of the set, that the teacher is asked about again."""
APART = {torch.float32: 2e-3, torch.float16: 1e-2, torch.bfloat16: 3e-2}
"""How far what is stored may be from what the teacher says now, as a share of a sample's norm, by
the type that it speaks in. Rounding to float16 moves it by 2e-4, another order of sums by less, and
in bfloat16 by up to 1e-2; of another image, it is some 1 away."""
POLL = 0.2
"""Seconds between two looks at whether another process has finished."""


class Progress(Protocol):
    """Where it is told how far it is; ``relatum.run.Display`` is one."""

    def begin(self, label: str, steps: int, done: int) -> None:
        """So many blocks are to be had, of which so many are there."""

    def advance(self) -> None:
        """One more is there."""

    def note(self, text: str) -> None:
        """Something worth a line."""


class Unheard:
    """Tells nobody."""

    def begin(self, label: str, steps: int, done: int) -> None:
        """Nothing."""

    def advance(self) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


@dataclass(frozen=True, eq=False)
class _Asking:
    """A teacher, and the images that it is asked about."""

    teacher: Teacher
    batches: Batches
    precision: torch.dtype
    store: Store
    names: tuple[str, ...]
    stop: Stop
    progress: Progress

    def say(self, images: Images, names: Sequence[str]) -> Captured:
        """What the teacher says of them."""
        return _say(self.teacher, images, names, self.precision)


def _rows(batches: Batches, size: int, view: int, step: int) -> Batch:
    """Samples in the order of the set, of one view."""
    size = min(size, len(batches.data))
    plain = replace(batches, size=size, shuffle=False, drop_last=False, shared=False)
    return next(plain.epoch(view + 1, step))


def _say(
    teacher: Teacher, images: Images, names: Collection[str], precision: torch.dtype
) -> Captured:
    """What a teacher says of images, run no further than to the last of these taps."""
    cut = nullcontext() if OUTPUT in names else teacher.tapped.until(names)
    half = precision != torch.float32
    with cut, torch.autocast(images.device.type, precision, enabled=half):
        return teacher.encode(images)


def sizes(
    teacher: Teacher, batches: Batches, names: Collection[str], precision: torch.dtype
) -> dict[str, int]:
    """Bytes that each tap takes in a cache, for one view of all samples."""
    samples = len(batches.data)
    said = _say(teacher, _rows(batches, 2, 0, 0).images, names, precision)
    return {name: sum(map(_bytes, _layers(said, name))) * samples for name in sorted(names)}


def _bytes(layer: Tensor) -> int:
    """Of one sample, as ``compact`` stores it."""
    return compact(layer).nbytes // len(layer)


def remember(
    teacher: Teacher,
    batches: Batches,
    names: Collection[str],
    identity: Identity,
    root: Path,
    *,
    precision: torch.dtype = torch.float32,
    stop: Stop | None = None,
    progress: Progress | None = None,
) -> CachedTeacher:
    """A teacher that says from memory what it would say of every batch of a training.

    What a folder lacks is computed first: by one process, for which all others wait that ask for
    the same, whether they train together or know nothing of each other. One that is killed
    leaves what it finished; the next goes on from there. What is read is compared with what the
    teacher says now, of a few samples.

    Args:
        teacher: on the device of the images.
        batches: of the training; their order plays no part.
        names: the taps to remember, ``"output"`` for what the network itself returns.
        identity: what its words depend on.
        root: the folder, which may hold any number of caches.
        precision: ``torch.bfloat16`` for a teacher that training runs under autocast.
        stop: asked after every batch.
        progress: told how far it is.

    Raises:
        Fault: there is no room on the disk, or what is stored is damaged, of another cache, or
            not what the teacher says.
        Interrupted: it was asked to stop; what is finished is kept.
    """
    if not names:
        raise Fault("nothing of the teacher is read, so there is nothing to remember")
    views, samples = batches.views or 1, len(batches.data)
    store = Store(root, identity, samples, views, teacher.taps)
    asking = _Asking(
        teacher,
        batches,
        precision,
        store,
        tuple(sorted(names)),
        stop or Stop(),
        progress or Unheard(),
    )
    if any(map(store.missing, asking.names)):
        with _alone(asking):
            _fill(asking)
    mapped = {name: store.open(name) for name in asking.names}
    device = batches.data.device
    fits = sum(each.bytes for each in mapped.values()) <= room_on(device)
    values = {name: held(each, device) if fits else each for name, each in mapped.items()}
    cached = CachedTeacher(teacher, values, samples, views)
    _compare(asking, cached)
    return cached


@contextmanager
def _alone(asking: _Asking) -> Iterator[None]:
    """Be the one process that fills this cache, for a while; the kernel lets go of a killed one's
    lock. Where files cannot be locked, several may compute the same."""
    folder = asking.store.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
    except OSError as error:
        raise Fault(f"cannot write {folder}: {error.strerror or error}") from error
    waited = False
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            pass
        except NotImplementedError:
            break
        except OSError as error:
            raise Fault(f"cannot write {folder}: {error.strerror or error}") from error
        if not waited:
            asking.progress.note(f"another process fills {folder}; waiting for it")
            waited = True
        _heed(asking.stop)
        time.sleep(POLL)
    try:
        yield
    finally:
        lock.release()


def _heed(stop: Stop) -> None:
    """Stop if this process was asked to; the others are elsewhere, and cannot be asked."""
    if stop.signum is not None:
        raise Interrupted(stop.signum)


def _fill(asking: _Asking) -> None:
    """Compute what is missing, by now: another process may have been here."""
    store, missing = asking.store, dict[Place, list[str]]()
    for name in asking.names:
        for place in store.missing(name):
            missing.setdefault(place, []).append(name)
    if not missing:
        return
    store.tidy()
    _announce(asking, missing)
    total = store.views * store.blocks
    asking.progress.begin("teacher", total, total - len(missing))
    for place in sorted(missing):
        for name, layers in _said(asking, place, missing[place]).items():
            shard = write_shard(store.path(name, place), layers, store.about(name, place))
            store.note(name, shard)
        asking.progress.advance()


def _announce(asking: _Asking, missing: Mapping[Place, Sequence[str]]) -> None:
    """Say what will be computed, and what room it takes; refuse what the disk cannot hold."""
    store = asking.store
    names = sorted({name for each in missing.values() for name in each})
    of_view = sizes(asking.teacher, asking.batches, names, asking.precision)
    needed = {
        name: of_view[name]
        * sum(store.length(each) for each in missing if name in missing[each])
        // store.samples
        for name in names
    }
    begun = any(store.folder.glob("*/*.safetensors"))
    if not begun and (differs := store.others()):
        asking.progress.note(f"what {store.root} holds is of something else: {differs} differ")
    listed = ", ".join(f"{name} {in_words(size)}" for name, size in needed.items())
    asked = "for what the cache lacks" if begun else "once"
    asking.progress.note(
        f"the teacher is asked {asked}, {store.samples:,} images in"
        f" {store.views} view{'s' * (store.views > 1)}: {listed}, in {store.folder}"
    )
    store.check_room(sum(needed.values()))


def _said(asking: _Asking, place: Place, names: Sequence[str]) -> dict[str, list[Tensor]]:
    """The layers of each tap, for the samples of a shard, on the CPU."""
    images = _rows(asking.batches, ROWS, *place).images
    found: dict[str, list[list[Tensor]]] = {name: [] for name in names}
    size = asking.batches.largest  # as training asks: memory holds it, and so it rounds
    for first in range(0, len(images), size):
        _heed(asking.stop)
        captured = asking.say(images[first : first + size], names)
        for name in names:
            found[name].append([each.cpu() for each in _layers(captured, name)])
    return {
        name: [torch.cat(each) for each in zip(*parts, strict=True)]
        for name, parts in found.items()
    }


def _layers(captured: Captured, name: str) -> tuple[Tensor, ...]:
    value = captured.read(name)
    return value if isinstance(value, tuple) else (value,)


def _compare(asking: _Asking, cached: CachedTeacher) -> None:
    """Ask the teacher again, of a few samples here and there, one view after the other."""
    for number in range(PLACES):
        steps = -(-asking.store.samples // LOOKED_AT)
        step = number * (steps - 1) // (PLACES - 1)
        batch = _rows(asking.batches, LOOKED_AT, number % cached.views, step)
        now, before = asking.say(batch.images, asking.names), cached(batch)
        for name in asking.names:
            for said, kept in zip(_layers(now, name), _layers(before, name), strict=True):
                limit = max(APART.get(said.dtype, APART[torch.float32]), APART[asking.precision])
                if not float(_apart(kept, said)) <= limit:
                    raise Fault(
                        f"{asking.store.folder}: the teacher says something else now of sample"
                        f" {int(batch.indices[0])} and those behind it at {name!r}; its code or"
                        " that of its input has changed: delete that folder"
                    )


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """How far a sample is from another at most, as a share of its norm."""
    one, other = one.flatten(1).float(), other.flatten(1).float()
    off, norms = (one - other).norm(dim=1), other.norm(dim=1)
    # a sample whose values are all but nothing is held against the others
    worst: Tensor = (off / norms.clamp_min(norms.mean() * 0.01 + 1e-30)).max()
    return worst
