import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from relatum.datasets import load, stl10
from relatum.datasets.stl10 import FILES, Files
from relatum.types import Fault

SIDE = 6


def contents() -> dict[str, bytes]:
    """Three and two images of 6×6 pixels, in the authors' order: channel, column, row."""
    generator = torch.Generator().manual_seed(0)
    made = torch.randint(256, (5, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    return {
        "train_X.bin": made[:3].numpy().tobytes(),
        "train_y.bin": bytes([1, 10, 4]),
        "test_X.bin": made[3:].numpy().tobytes(),
        "test_y.bin": bytes([2, 1]),
    }


def written(folder: Path, files: dict[str, bytes]) -> Files:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    sums = {name: hashlib.md5(data).hexdigest() for name, data in files.items()}
    return Files(sums=sums, samples=(3, 2), side=SIDE)


@pytest.mark.parametrize("place", ["stl10_binary", "stl10/stl10_binary"])
def test_the_authors_files(tmp_path: Path, place: str) -> None:
    files = written(tmp_path / place, contents())
    data = stl10.load(files, tmp_path, size=SIDE)
    assert data.train.shape == (3, SIDE, SIDE)
    assert len(data.test) == 2
    assert data.train.labels is not None
    assert data.test.labels is not None
    assert data.train.labels.tolist() == [0, 9, 3]
    assert data.test.labels.tolist() == [1, 0]
    stored = np.frombuffer(contents()["train_X.bin"], dtype=np.uint8).reshape(3, 3, SIDE, SIDE)
    assert data.train.images[1, 2, 4, 5] == stored[1, 2, 5, 4]
    assert "MD5 sums as published" in data.note


def test_it_is_resized_as_torchvision_does_it(tmp_path: Path) -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    files = written(tmp_path / "stl10_binary", contents())
    whole = stl10.load(files, tmp_path, size=SIDE).train.images
    small = stl10.load(files, tmp_path, size=3).train.images
    assert small.shape == (3, 3, 3, 3)
    for ours, pixels in zip(small, whole, strict=True):
        theirs = functional.resize(Image.fromarray(pixels.permute(1, 2, 0).numpy()), 3)
        assert np.array_equal(ours.permute(1, 2, 0).numpy(), np.array(theirs))


def test_half_a_download_is_named(tmp_path: Path) -> None:
    made = contents()
    cut = made["test_X.bin"][:-1]
    files = written(tmp_path / "stl10_binary", made)
    path = tmp_path / "stl10_binary" / "test_X.bin"
    path.write_bytes(cut)
    with pytest.raises(Fault, match=r"test_X.bin: MD5 differs"):
        stl10.load(files, tmp_path)
    sums = {**files.sums, "test_X.bin": hashlib.md5(cut).hexdigest()}
    with pytest.raises(Fault, match=r"holds 215 bytes beside 2 labels, wanted 2 images of 3 by 6"):
        stl10.load(Files(sums=sums, samples=(3, 2), side=SIDE), tmp_path)
    path.unlink()
    with pytest.raises(Fault, match=r"has no test_X.bin; run again with --download"):
        stl10.load(files, tmp_path)


def test_downloads_only_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    files = written(tmp_path / "elsewhere", contents())

    def fetch(kind: str, root: Path) -> None:
        fetched.append(kind)
        (tmp_path / "elsewhere").rename(root / "stl10_binary")

    monkeypatch.setattr(stl10, "fetch", fetch)
    with pytest.raises(Fault, match="stl10 is not here"):
        stl10.load(files, tmp_path)
    assert not fetched
    assert len(stl10.load(files, tmp_path, download=True).train) == 3
    stl10.load(files, tmp_path, download=True)
    assert fetched == ["STL10"]


def test_by_name_at_its_usual_size_and_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stl10, "FILES", written(tmp_path / "stl10_binary", contents()))
    assert load("stl10", root=tmp_path).train.shape == (3, 32, 32)
    assert load("stl10", root=tmp_path, image_size=SIDE).train.shape == (3, SIDE, SIDE)
    with pytest.raises(Fault, match="at least one pixel"):
        load("stl10", root=tmp_path, image_size=0)


def test_sums_are_torchvisions() -> None:
    kind = pytest.importorskip("torchvision.datasets").STL10
    published = dict(kind.train_list + kind.test_list)
    assert {name: published[name] for name in FILES.sums} == FILES.sums
    assert kind.base_folder == stl10.FOLDER
