"""The folder of a cache: where each tap's shards lie, what is missing, what room it takes.

::

    DIR/resnet32x4-1f0c…/manifest.json             what it is of, in words
                         embedding-9a41…/0-00000.safetensors   view 0, samples from 0
                         maps-07be…/0-00000.safetensors
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relatum.cache.identity import Identity
from relatum.cache.shards import ROWS, Shard, read_shard
from relatum.cache.values import Mapped
from relatum.taps import Tap, Taps
from relatum.types import Fault
from relatum.views import View
from relatum.weights import write

FORMAT = 1
MANIFEST = "manifest.json"
OUTPUT = "output"
Place = tuple[int, int]
"""Of a shard: a view, and a block of ``ROWS`` samples."""


def check_root(root: Path) -> None:
    """Refuse a place that can hold no cache, before anything is trained.

    Raises:
        Fault: it, or what it would lie in, is a file.
    """
    there = next(each for each in (root, *root.absolute().parents) if each.exists())
    if not there.is_dir():
        raise Fault(f"a cache is a folder, and {there} is none; give another --cache")


@dataclass(frozen=True, eq=False)
class Store:
    """What there is of a cache.

    Attributes:
        root: holds the caches of any number of teachers and sets.
        identity: what this one is of.
        samples: of a view.
        views: how many are wanted.
        taps: where the teacher's taps lie.
    """

    root: Path
    identity: Identity
    samples: int
    views: int
    taps: Taps

    @property
    def folder(self) -> Path:
        """Of this cache."""
        name = "".join(each if each.isalnum() else "-" for each in self.identity.facts["teacher"])
        return self.root / f"{name}-{self.identity.key[:16]}"

    @property
    def blocks(self) -> int:
        """Shards of a view."""
        return -(-self.samples // ROWS)

    def shards(self) -> Iterator[Place]:
        """All that a tap has, the first view first."""
        return ((view, block) for view in range(self.views) for block in range(self.blocks))

    def missing(self, tap: str) -> list[Place]:
        """What is not there yet of a tap."""
        return [each for each in self.shards() if not self.path(tap, each).exists()]

    def path(self, tap: str, place: Place) -> Path:
        """Where a shard lies. A tap of one name and another place has other shards."""
        return self.folder / self.name(tap) / f"{place[0]}-{place[1]:05}.safetensors"

    def about(self, tap: str, place: Place) -> dict[str, Any]:
        """What a shard says of itself."""
        return {
            "format": FORMAT,
            "facts": dict(self.identity.facts),
            "tap": self._place(tap),
            "view": place[0],
            "first": place[1] * ROWS,
            "samples": self.length(place),
        }

    def length(self, place: Place) -> int:
        """Samples of a shard."""
        return min(ROWS, self.samples - place[1] * ROWS)

    def _place(self, tap: str) -> list[list[str]]:
        if tap == OUTPUT:
            return [[OUTPUT]]
        places = self.taps[tap]
        return [_words(each) for each in ((places,) if isinstance(places, Tap) else places)]

    def name(self, tap: str) -> str:
        """Of the folder of a tap. One of another place in the network is another tap."""
        return f"{tap}-{hashlib.sha256(repr(self._place(tap)).encode()).hexdigest()[:8]}"

    def open(self, tap: str) -> Mapped:
        """What a tap's shards hold, mapped; all of them are looked at.

        Raises:
            Fault: one is missing, damaged, or of another cache.
        """
        views = [
            [
                read_shard(self.path(tap, (view, block)), self.about(tap, (view, block)))
                for block in range(self.blocks)
            ]
            for view in range(self.views)
        ]
        return Mapped(views, self.samples, tap == OUTPUT or isinstance(self.taps[tap], Tap))

    def note(self, tap: str, shard: Shard) -> None:
        """Say in words what this cache is of, and how a tap is stored: for people to read."""
        path, name = self.folder / MANIFEST, self.name(tap)
        kinds = [str(each.dtype).removeprefix("torch.") for each in shard.layers]
        shapes = [list(each.shape[1:]) for each in shard.layers]
        spoken = [str(each).removeprefix("torch.") for each in shard.spoken]
        taps: dict[str, Any] = {}
        with suppress(OSError, ValueError, KeyError, TypeError):
            taps = dict(json.loads(path.read_text())["taps"])
        about = {"tap": tap, "place": self._place(tap), "shapes": shapes, "spoken": spoken}
        stored = sorted({*taps.get(name, {}).get("stored", ()), *kinds})
        if taps.get(name) == (new := {**about, "stored": stored}):
            return
        manifest = {
            "format": FORMAT,
            "facts": dict(self.identity.facts),
            "samples": self.samples,
            "samples of a shard": ROWS,
            "taps": {**taps, name: new},
        }
        write(path, json.dumps(manifest, indent=1).encode())

    def others(self) -> str:
        """In what the nearest other cache of this folder differs, in words; empty for none."""
        found = []
        for path in self.root.glob(f"*/{MANIFEST}"):
            with suppress(OSError, ValueError, KeyError, AttributeError, TypeError):
                found.append(self.identity.difference(json.loads(path.read_text())["facts"]))
        return min(filter(None, found), key=lambda each: each.count(","), default="")

    def tidy(self) -> None:
        """Delete what a killed process left half written."""
        for path in self.folder.glob("*/.*.safetensors.*"):
            path.unlink(missing_ok=True)

    def check_room(self, needed: int) -> None:
        """Make sure that the disk holds so many bytes more.

        Raises:
            Fault: it does not.
        """
        there = next(each for each in (self.folder, *self.folder.parents) if each.exists())
        free = shutil.disk_usage(there).free
        if needed > free:
            raise Fault(
                f"the cache takes {in_words(needed)} more, and {there} has {in_words(free)} free;"
                " name another folder, fewer views, or a method that reads no maps"
            )


def _words(tap: Tap) -> list[str]:
    """Of a place; a view is named where there is one, so that older shards keep their names."""
    return list(tap.place) if tap.view == View() else [*tap.place, repr(tap.view)]


def in_words(size: int) -> str:
    """A number of bytes, in MiB or GiB."""
    return f"{size / 2**30:,.1f} GiB" if size >= 10 * 2**30 else f"{size / 2**20:,.1f} MiB"
