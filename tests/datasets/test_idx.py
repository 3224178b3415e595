import gzip
import hashlib
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from relatum.datasets import idx, load
from relatum.datasets.idx import FASHION, MNIST, Family, read_idx
from relatum.types import Fault

NAMES = tuple(MNIST.sums)


def packed(values: bytes, *sizes: int) -> bytes:
    return struct.pack(f">HBB{len(sizes)}I", 0, 8, len(sizes), *sizes) + values


def contents() -> dict[str, bytes]:
    """A tiny MNIST: six and four images of 3×3 pixels in ten classes."""
    return {
        NAMES[0]: packed(bytes(range(54)), 6, 3, 3),
        NAMES[1]: packed(bytes([0, 1, 2, 3, 4, 9]), 6),
        NAMES[2]: packed(bytes(range(100, 136)), 4, 3, 3),
        NAMES[3]: packed(bytes([9, 8, 7, 6]), 4),
    }


def written(folder: Path, files: dict[str, bytes], zipped: bool = True) -> Family:
    """Write these files, and the family to which they belong."""
    folder.mkdir(parents=True, exist_ok=True)
    sums = dict.fromkeys(NAMES, "0" * 32)
    for name, data in files.items():
        stored = gzip.compress(data, mtime=0) if zipped else data
        (folder / (f"{name}.gz" if zipped else name)).write_bytes(stored)
        sums[name] = hashlib.md5(stored).hexdigest()
    return replace(MNIST, sums=sums, samples=(6, 4), side=3)


@pytest.mark.parametrize("place", ["MNIST/raw", "mnist/MNIST/raw", "mnist", "."])
@pytest.mark.parametrize("zipped", [True, False])
def test_found_in_all_layouts(tmp_path: Path, place: str, zipped: bool) -> None:
    family = written(tmp_path / place, contents(), zipped)
    data = idx.load(family, tmp_path)
    assert data.train.images.flatten().tolist() == list(range(54))
    assert data.test.images.flatten().tolist() == list(range(100, 136))
    assert data.train.shape == (1, 3, 3)
    assert data.train.labels is not None
    assert data.test.labels is not None
    assert data.train.labels.tolist() == [0, 1, 2, 3, 4, 9]
    assert data.test.labels.tolist() == [9, 8, 7, 6]
    assert ("MD5" in data.note) == zipped


def broken(change: Callable[[dict[str, bytes]], None]) -> dict[str, bytes]:
    files = contents()
    change(files)
    return files


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        (NAMES[1], packed(bytes(5), 5), "has 5 labels for 6 images"),
        (NAMES[1], packed(bytes([0, 1, 2, 3, 4, 10]), 6), "has label 10, the highest of 10"),
        (NAMES[0], packed(bytes(45), 5, 3, 3), "holds 5 by 3 by 3, wanted 6 images"),
        (NAMES[0], packed(bytes(96), 6, 4, 4), "holds 6 by 4 by 4"),
        (NAMES[0], packed(bytes(53), 6, 3, 3), "says 6 by 3 by 3 bytes and has 53"),
        (NAMES[0], packed(bytes(55), 6, 3, 3), "so it is cut off or damaged"),
        (NAMES[0], packed(bytes(6), 6), "begins with 00000801"),
        (NAMES[2], packed(b"", 0, 3, 3), "holds 0 by 3 by 3"),
        (NAMES[2], b"\0\0\x08\x03\0\0", "begins with 00000803"),
        (NAMES[2], b"", "begins with nothing"),
        (NAMES[3], b"\0\0\x0d\x01\0\0\0\1abcd", "begins with 00000d01"),
    ],
)
def test_wrong_contents_are_named(
    tmp_path: Path, name: str, data: bytes, says: str, zipped: bool
) -> None:
    family = written(tmp_path, {**contents(), name: data}, zipped)
    with pytest.raises(Fault) as caught:
        idx.load(family, tmp_path)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / name))
    assert says in message
    assert message.endswith("delete it and run again with --download")
    assert "\n" not in message


def test_damaged_downloads_are_named(tmp_path: Path) -> None:
    family = written(tmp_path, contents())
    path = tmp_path / f"{NAMES[2]}.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(Fault, match=r"t10k-images-idx3-ubyte\.gz: truncated gzip"):
        idx.load(family, tmp_path)
    path.write_bytes(gzip.compress(contents()[NAMES[2]], mtime=1))
    with pytest.raises(Fault, match=r"t10k-images-idx3-ubyte\.gz: MD5 differs"):
        idx.load(family, tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    files = contents()
    del files[NAMES[3]]
    family = written(tmp_path / "mnist", files)
    with pytest.raises(Fault, match=r"mnist has no t10k-labels-idx1-ubyte\.gz; run again"):
        idx.load(family, tmp_path)


@pytest.mark.parametrize("before", [[], [0, 1, 2]])
def test_downloads_only_when_told_and_when_needed(
    tmp_path: Path, before: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    family = written(tmp_path / "elsewhere", contents())
    files = {NAMES[place]: contents()[NAMES[place]] for place in before}
    if files:
        written(tmp_path / "MNIST" / "raw", files)
    fetched: list[str] = []

    def fetch(kind: str, root: Path) -> None:
        fetched.append(kind)
        written(root / "MNIST" / "raw", contents())

    monkeypatch.setattr(idx, "fetch", fetch)
    with pytest.raises(Fault, match="run again with --download"):
        idx.load(family, tmp_path)
    assert not fetched
    assert len(idx.load(family, tmp_path, download=True).train) == 6
    assert len(idx.load(family, tmp_path, download=True).train) == 6
    assert fetched == ["MNIST"]


def test_the_other_family_in_the_folder_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of both families have the same names; bare in one folder, only sums tell."""
    monkeypatch.setattr(idx, "MNIST", written(tmp_path, contents()))
    with pytest.raises(Fault, match="fashion-mnist is not here"):
        idx.load(FASHION, tmp_path)
    assert len(idx.mnist(tmp_path).train) == 6


def test_read_idx_asks_for_no_sum_when_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(packed(b"abcdef", 2, 3)))
    assert read_idx(path, None, axes=2).tolist() == [list(b"abc"), list(b"def")]


@pytest.mark.parametrize("family", [MNIST, FASHION])
def test_sums_and_classes_are_torchvisions(family: Family) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    kind = getattr(datasets, family.kind)
    assert {f"{name}.gz": md5 for name, md5 in family.sums.items()} == dict(kind.resources)
    assert tuple(name.split(" - ")[0] for name in kind.classes) == family.classes


def test_mnist_is_whole(real: Path) -> None:
    data = load("mnist", root=real)
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
    assert data.train.labels is not None
    assert data.test.labels is not None
    assert data.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    # The published counts of each digit, and the mean that everybody normalises by.
    assert data.test.labels.bincount().tolist() == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]
    pixels = data.train.images.double() / 255
    assert pixels.mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert pixels.std().item() == pytest.approx(0.3081, abs=5e-5)
    assert torch.equal(load("mnist", root=real / "mnist").test.images, data.test.images)
    with pytest.raises(Fault, match="fashion-mnist is not here"):
        load("fashion-mnist", root=real / "mnist" / "MNIST" / "raw")
