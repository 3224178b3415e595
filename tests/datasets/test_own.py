"""A user's own images, as they come: each is handled or named, and none ends in a traceback."""

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from relatum.data import Stored
from relatum.datasets import Dataset, decoded, load
from relatum.types import Fault
from tests.datasets.test_folder import fill, paint

NOISE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


def noise(path: Path, kind: str | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(NOISE).save(path, kind, **options)
    return path


def cut_off(path: Path) -> None:
    whole = noise(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def bomb(path: Path) -> None:
    """A PNG that says it has 400 million pixels, and holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b""))


def wild(top: Path) -> Path:
    """Two classes of 6 good images each, all of them odd, and 5 broken ones."""
    noise(top / "a" / "inks.jpg")
    Image.new("CMYK", (30, 20), (0, 255, 255, 0)).save(top / "a" / "inks.jpg")
    Image.new("I;16", (9, 9), 40_000).save(top / "a" / "deep.png")
    frames = [Image.new("P", (12, 12), each) for each in (0, 1)]
    frames[0].save(top / "a" / "moving.gif", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(top / "a" / "turned.JPG", "jpeg", exif=exif)
    paint(top / "a" / "ein Bild, ü 猫.png", 9)
    paint(top / "a" / "deeper" / "still" / "x.webp", 9)
    for name, size in (("dot", (1, 1)), ("line", (900, 1)), ("wide", (2, 300))):
        path = top / "b" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", size, (5, 6, 7)).save(path)
    Image.new("LA", (8, 8), (0, 0)).save(top / "b" / "clear.png")
    Image.new("1", (8, 8), 1).save(top / "b" / "ink.tif")
    noise(top / "b" / "palette.bmp")
    os.symlink(top, top / "b" / "loop")
    os.symlink("self.png", top / "b" / "self.png")
    cut_off(top / "a" / "cut.jpg")
    (top / "a" / "empty.png").touch()
    (top / "a" / "text.jpg").write_text("this is a text")
    bomb(top / "b" / "bomb.png")
    (top / "b" / ".hidden.png").write_bytes(b"rubbish")
    return top


BROKEN = {
    "a/cut.jpg": "truncated",
    "a/empty.png": "an empty file",
    "a/text.jpg": "no image of a known format",
    "b/bomb.png": "400,000,000 pixels, too many",
    "b/self.png": "a link that leads nowhere",
}


@pytest.fixture(params=["resident", "streamed"])
def memory(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_what_is_broken_is_counted_and_named(tmp_path: Path, memory: Any) -> None:
    wild(tmp_path)
    (tmp_path / "b" / "loop").unlink()
    with pytest.raises(Fault) as caught:
        load(str(tmp_path), image_size=8, memory=memory)
    said = str(caught.value)
    assert said.startswith(f"5 of 17 images of folder:{tmp_path} cannot be read: a/cut.jpg (")
    assert said.endswith("; mend or remove them, or leave them out (--skip-broken)")
    assert "\n" not in said
    for name, reason in BROKEN.items():
        assert reason in said[said.index(name) :].partition(")")[0]


def test_what_is_broken_is_left_out_when_asked(tmp_path: Path, memory: Any) -> None:
    wild(tmp_path)
    (tmp_path / "b" / "loop").unlink()
    data = load(str(tmp_path), image_size=8, memory=memory, skip_broken=True)
    assert data.classes == ("a", "b")
    assert isinstance(data.train, Stored) == (memory == "streamed")
    names = {*(data.train.names or ()), *(data.test.names or ())}
    assert len(names) == len(data.train) + len(data.test) == 12
    assert not names & set(BROKEN)
    assert {"a/ein Bild, ü 猫.png", "a/deeper/still/x.webp", "a/turned.JPG"} <= names
    assert data.said[0].startswith(f"5 of 17 images of folder:{tmp_path} cannot be read: a/cut.jpg")
    assert data.said[0].endswith(", and left out")
    for part in (data.train, data.test):
        assert part.labels is not None
        for name, label in zip(part.names or (), part.labels.tolist(), strict=True):
            assert name.startswith("ab"[label])


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    wild(tmp_path)
    with pytest.raises(Fault, match=r"of folder:.* cannot be read"):
        load(str(tmp_path), image_size=8)


def same(one: Dataset, other: Dataset) -> bool:
    for part in ("train", "test"):
        ours, theirs = getattr(one, part), getattr(other, part)
        every = slice(0, len(ours))
        if (ours.labels is None) != (theirs.labels is None) or ours.names != theirs.names:
            return False
        if ours.labels is not None and not torch.equal(ours.labels, theirs.labels):
            return False
        if not torch.equal(ours.pixels(every), theirs.pixels(every)):
            return False
    return one.classes == other.classes


def test_streamed_or_held_it_is_one_set(tmp_path: Path) -> None:
    wild(tmp_path)
    (tmp_path / "b" / "loop").unlink()
    held, streamed = (
        load(str(tmp_path), image_size=8, memory=memory, skip_broken=True)
        for memory in ("resident", "streamed")
    )
    assert same(held, streamed)


def test_real_photographs_streamed(real: Path) -> None:
    held, streamed = (
        load(str(real / "photos" / "val"), image_size=32, memory=memory)
        for memory in ("resident", "streamed")
    )
    assert same(held, streamed)


def test_held_where_there_is_room(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 5, "b": 5})
    for room, held in ((None, True), (10 * 3 * 8 * 8, True), (10 * 3 * 8 * 8 - 1, False)):
        data = load(str(tmp_path), image_size=8, memory="auto", room=room)
        assert isinstance(data.train, Stored) != held
        assert any("streamed: 10 images" in each for each in data.said) != held


@pytest.mark.parametrize("memory", ["resident", "streamed"])
def test_what_is_known_to_be_broken_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: Any
) -> None:
    monkeypatch.setattr(decoded, "PATIENCE", -1.0)
    fill(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "a" / "000.png").write_bytes(b"rubbish")
    with pytest.raises(Fault, match="1 of 10 images"):
        load(str(tmp_path), memory=memory)

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("it is known")

    with monkeypatch.context() as patch:
        patch.setattr("relatum.datasets.originals.picture", never)
        with pytest.raises(Fault, match="1 of 10 images"):
            load(str(tmp_path), memory=memory)
        data = load(str(tmp_path), memory=memory, skip_broken=True)
        assert len(data.train) + len(data.test) == 9
    paint(tmp_path / "a" / "000.png")
    data = load(str(tmp_path), memory=memory)
    assert len(data.train) + len(data.test) == 10


def test_nothing_left_is_refused(tmp_path: Path, memory: Any) -> None:
    fill(tmp_path, {"a": 5, "b": 3})
    for path in (tmp_path / "b").iterdir():
        path.write_bytes(b"rubbish")
    with pytest.raises(Fault, match="no image of class 'b' can be read"):
        load(str(tmp_path), memory=memory, skip_broken=True)
    for path in (tmp_path / "a").iterdir():
        path.write_bytes(b"rubbish")
    with pytest.raises(Fault, match=r"8 of 8 .* and 3 more; mend them$"):
        load(str(tmp_path), memory=memory, skip_broken=True)


def test_a_name_of_no_known_letters(tmp_path: Path) -> None:
    if os.name != "posix":
        pytest.skip("names are bytes on POSIX alone")
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this file system takes no such name")
    fill(tmp_path, {"b": 5})
    for number in range(5):
        paint(Path(os.fsdecode(folder)) / f"{number}.png")
    data = load(str(tmp_path))
    assert data.classes == ("b", "caf\ufffd")
    "".join(data.train.names or ()).encode()  # it can be written


def test_thousands_of_classes(tmp_path: Path) -> None:
    paint(tmp_path / "one.png")
    for number in range(1500):
        folder = tmp_path / "set" / f"{number:04d}"
        folder.mkdir(parents=True)
        os.link(tmp_path / "one.png", folder / "x.png")
    data = load(str(tmp_path / "set"), image_size=1)
    assert len(data.classes) == 1500
    assert len(data.test) == 300


def test_sets_that_come_checked_have_nothing_to_stream() -> None:
    with pytest.raises(Fault, match="digits comes checked and lies in memory: memory=streamed"):
        load("digits", memory="streamed")
    with pytest.raises(Fault, match="skip_broken is for images of your own"):
        load("digits", skip_broken=True)
    assert load("digits", memory="auto", room=0).train.shape == (1, 8, 8)
