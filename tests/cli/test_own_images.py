"""A user's own images through the command: what is odd is read, what is broken is named."""

import io
import os
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from relatum.record import Record
from tests.datasets.test_folder import paint
from tests.datasets.test_own import BROKEN, wild

Refused = Callable[..., str]


def folder(here: Path, images: list[str]) -> str:
    return "wild/"


def table(here: Path, images: list[str]) -> str:
    rows = [f'"wild/{name}",{name[0]}' for name in images]
    (here / "list.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    return "list.csv"


def shards(here: Path, images: list[str]) -> str:
    """Half of the images in each, what the links lead to in place of them."""
    for number in range(2):
        with tarfile.open(here / f"x-{number}.tar", "w") as archive:
            for place, name in enumerate(images[number::2]):
                path = here / "wild" / name
                data = path.read_bytes() if path.exists() else b"no image"
                stem = f"{name.replace('.', '-')} {place}"  # what follows a dot is no name
                for end, content in ((name.rpartition(".")[2], data), ("cls", name[0].encode())):
                    about = tarfile.TarInfo(f"{stem}.{end}")
                    about.size = len(content)
                    archive.addfile(about, io.BytesIO(content))
    return "wds:x-{0..1}.tar"


@pytest.mark.parametrize("memory", ["resident", "streamed"])
@pytest.mark.parametrize("source", [folder, table, shards])
def test_what_is_broken_is_named_or_left_out(
    here: Path,
    refused: Refused,
    does: Refused,
    monkeypatch: pytest.MonkeyPatch,
    source: Callable[[Path, list[str]], str],
    memory: str,
) -> None:
    monkeypatch.setenv("HOME", str(here / "home"))
    wild(here / "wild")
    (here / "wild" / "b" / "loop").unlink()
    os.symlink(".", here / "wild" / "b" / "loop")  # in a circle, and never out of its class
    every = [*(here / "wild").rglob("*.*")]
    names = sorted(str(each.relative_to(here / "wild")) for each in every)
    images = [each for each in names if not Path(each).name.startswith(".")]
    assert len(images) == 17
    data = source(here, images)
    command = ["teach", "--data", data, "--epochs", "1", "--out", "out", "--batch", "4"]
    command += ["--set", "image_size=8", "--set", f"memory={memory}"]
    command += ["--model", "digits-cnn-small"]
    line = refused(*command)
    assert line.startswith("5 of 17 images of ")
    assert line.endswith("; mend or remove them, or leave them out (--skip-broken)")
    for name, reason in BROKEN.items():
        gone = source is shards and name == "b/self.png"
        assert ("no image of a known format" if gone else reason) in line
        assert name.replace(".", "-" if source is shards else ".") in line
    assert not (here / "out").exists()
    does(*command, "--skip-broken")
    record = Record.load(here / "out")
    assert sum(record.samples.values()) == 12
    said = [each for each in record.notes if each.startswith("5 of 17 images of")]
    assert [each.endswith(", and left out") for each in said] == [True]
    streamed = [each for each in record.notes if each.startswith("streamed: 12 images of")]
    assert len(streamed) == (memory == "streamed")


def test_a_large_picture_is_no_reason_for_lines(
    here: Path, does: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(here / "home"))
    for number in range(10):
        paint(here / "photos" / "ab"[number % 2] / f"{number}.png", number)
    Image.new("RGB", (10_000, 3)).save(here / "photos" / "a" / "wide.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20_000)  # Pillow warns from here to twice that
    command = ("teach", "--data", "photos/", "--epochs", 1, "--out", "out", "--batch", 4)
    with warnings.catch_warnings(record=True) as seen:
        warnings.resetwarnings()
        does(*command, "--set", "image_size=8", "--model", "digits-cnn-small")
    assert not [each for each in seen if "decompression bomb" in str(each.message)]
