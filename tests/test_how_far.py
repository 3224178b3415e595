"""What takes long before a run is told to whoever listens, and to nobody else."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from relatum.datasets import load, originals
from relatum.how_far import Advance, heard_by, told
from relatum.types import Fault
from tests.datasets.test_folder import fill
from tests.datasets.test_shards import pack, samples

Heard = list[tuple[str, int | None]]


def listener(heard: Heard) -> Callable[[str, int], object]:
    @contextmanager
    def listen(what: str, count: int) -> Iterator[Advance]:
        heard.append((what, count))
        try:
            yield lambda many: heard.append(("more", many))
        finally:
            heard.append(("end", None))

    return listen


def test_the_innermost_listener_of_this_thread_hears() -> None:
    outer: Heard = []
    inner: Heard = []
    with heard_by(listener(outer)):  # type: ignore[arg-type]
        with heard_by(listener(inner)), told("one", 2) as advance:  # type: ignore[arg-type]
            advance(2)
        with pytest.raises(Fault), told("two", 1):
            raise Fault("it broke")
        elsewhere = threading.Thread(target=lambda: told("three", 1).__enter__()(1))
        elsewhere.start()
        elsewhere.join()
    with told("four", 1) as advance:
        advance(1)
    assert inner == [("one", 2), ("more", 2), ("end", None)]
    assert outer == [("two", 1), ("end", None)]


@pytest.mark.parametrize(("memory", "verb"), [("resident", "decoding"), ("streamed", "checking")])
def test_images_that_are_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str, verb: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(originals, "PART", 4)
    fill(tmp_path / "photos", {"a": 5, "b": 5})
    heard: Heard = []
    with heard_by(listener(heard)):  # type: ignore[arg-type]
        load(str(tmp_path / "photos"), image_size=4, memory=memory)  # type: ignore[arg-type]
    assert heard[0] == (f"{verb} folder {tmp_path / 'photos'}", 10)
    assert heard[1:] == [("more", 4), ("more", 4), ("more", 2), ("end", None)]


def test_shards_that_are_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for shard in range(3):
        pack(tmp_path / f"{shard}.tar", samples(range(10 * shard, 10 * shard + 4)))
    heard: Heard = []
    with heard_by(listener(heard)):  # type: ignore[arg-type]
        load(f"{tmp_path}/*.tar", image_size=4)
    assert heard[0][0].startswith("looking through shards ")
    assert heard[:5] == [(heard[0][0], 3), *[("more", 1)] * 3, ("end", None)]
