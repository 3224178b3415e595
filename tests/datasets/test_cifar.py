import hashlib
import io
import json
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from relatum.data import ImageSet
from relatum.datasets import cifar, load
from relatum.datasets.cifar import CIFAR10, CIFAR100, Family
from relatum.types import Fault


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def pickles(family: Family) -> dict[str, bytes]:
    """Two samples in each of the family's files."""
    files: dict[str, bytes] = {}
    for names in family.files.values():
        for name in names:
            start = len(files)
            pixels = np.arange(2 * 3072).reshape(2, 3072) + start
            entry = {"data": pixels.astype(np.uint8), family.pickled_labels: [start, start + 1]}
            files[name] = pickle.dumps(entry, protocol=2)
    return files


def tiny(family: Family) -> tuple[Family, dict[str, bytes], bytes]:
    """A family of a few samples, its files, and the archive that holds them."""
    files = pickles(family)
    stored = io.BytesIO()
    with tarfile.open(fileobj=stored, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{family.folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    sums = {part: {name: md5(files[name]) for name in family.files[part]} for part in cifar.PARTS}
    samples = 2 * len(sums["train"]), 2 * len(sums["test"])
    made = replace(
        family,
        files=sums,
        archive=(family.archive[0], md5(stored.getvalue())),
        samples=samples,
    )
    return made, files, stored.getvalue()


def unpack(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


@pytest.mark.parametrize("base", [CIFAR10, CIFAR100])
@pytest.mark.parametrize("archived", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_torchvisions_layouts(tmp_path: Path, base: Family, archived: bool, own: bool) -> None:
    family, files, archive = tiny(base)
    place = tmp_path / family.name if own else tmp_path
    place.mkdir(exist_ok=True)
    if archived:
        (place / family.archive[0]).write_bytes(archive)
    else:
        unpack(place / family.folder, files)
    data = cifar.load(family, tmp_path)
    assert data.train.shape == (3, 32, 32)
    assert data.train.labels is not None
    assert data.test.labels is not None
    count = len(family.files["train"])
    assert data.train.labels.tolist() == [start + add for start in range(count) for add in (0, 1)]
    assert data.test.labels.tolist() == [count, count + 1]
    wanted = torch.arange(2 * 3072).view(2, 3, 32, 32).byte()
    assert torch.equal(data.train.images[:2], wanted)
    assert torch.equal(data.test.images, wanted + count)


class Bomb:
    """Runs code when it is unpickled, as any pickle may."""

    def __init__(self, fuse: Path) -> None:
        self.fuse = fuse

    def __reduce__(self) -> Any:
        return (Path.touch, (self.fuse,))


@pytest.mark.parametrize("archived", [True, False])
def test_no_pickle_is_opened_whose_sum_differs(tmp_path: Path, archived: bool) -> None:
    family, files, _ = tiny(CIFAR100)
    fuse = tmp_path / "went off"
    files["train"] = pickle.dumps(Bomb(fuse))
    pickle.loads(files["train"])
    assert fuse.exists()
    fuse.unlink()
    if archived:
        with tarfile.open(tmp_path / family.archive[0], mode="w:gz") as archive:
            for name, data in files.items():
                member = tarfile.TarInfo(f"{family.folder}/{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    else:
        unpack(tmp_path / family.folder, files)
    with pytest.raises(Fault, match="MD5 differs"):
        cifar.load(family, tmp_path)
    assert not fuse.exists()


def test_half_a_download_is_named(tmp_path: Path) -> None:
    family, files, archive = tiny(CIFAR10)
    path = tmp_path / family.archive[0]
    path.write_bytes(archive[: len(archive) // 2])
    with pytest.raises(Fault, match=r"cifar-10-python.tar.gz: truncated gzip"):
        cifar.load(family, tmp_path)
    del files["data_batch_3"]
    unpack(tmp_path / family.folder, files)
    with pytest.raises(Fault, match=r"data_batch_3 is missing; delete the folder and run again"):
        cifar.load(family, tmp_path)


def test_samples_are_counted(tmp_path: Path) -> None:
    family, files, _ = tiny(CIFAR100)
    unpack(tmp_path / family.folder, files)
    with pytest.raises(Fault, match="the test part has 2 labels for 2 images, wanted 3"):
        cifar.load(replace(family, samples=(2, 3)), tmp_path)


def test_downloads_only_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family, files, _ = tiny(CIFAR100)
    fetched: list[str] = []

    def fetch(kind: str, root: Path) -> None:
        fetched.append(kind)
        unpack(root / family.folder, files)

    monkeypatch.setattr(cifar, "fetch", fetch)
    with pytest.raises(Fault, match="cifar100 is not here"):
        cifar.load(family, tmp_path)
    assert not fetched
    assert len(cifar.load(family, tmp_path, download=True).train) == 2
    cifar.load(family, tmp_path, download=True)
    assert fetched == ["CIFAR100"]


@pytest.mark.parametrize("family", [CIFAR10, CIFAR100])
def test_sums_are_torchvisions(family: Family) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    kind = getattr(datasets, family.kind)
    assert family.archive == (kind.filename, kind.tgz_md5)
    assert family.folder == kind.base_folder
    assert list(family.files["train"].items()) == [tuple(each) for each in kind.train_list]
    assert list(family.files["test"].items()) == [tuple(each) for each in kind.test_list]


def digest(data: ImageSet) -> str:
    """Of the images as samples × height × width × channels, followed by the labels."""
    assert data.labels is not None
    hashed = hashlib.sha256(data.images.permute(0, 2, 3, 1).contiguous().numpy().tobytes())
    hashed.update(data.labels.byte().numpy().tobytes())
    return hashed.hexdigest()


def test_cifar100_is_whole_and_remembered(real: Path, home: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for _ in range(2):
        data = load("cifar100", root=real)
        assert digest(data.train) == (
            "33f81fd80b948057ddc16d67a3495799b9b41809c1d0a1f582f41d70b46746ed"
        )
        assert digest(data.test) == (
            "4e682a0b30434f247cece1e321db2ff651cbd259a4be20e2b84cefb11f3ee7bb"
        )
        assert (home / ".cache" / "relatum" / "decoded").is_dir()
    path = real / "cifar100" / "test-00000-of-00001.parquet"
    about = json.loads(parquet.read_schema(path).metadata[b"huggingface"])
    assert tuple(about["info"]["features"]["fine_label"]["names"]) == data.classes
    for channel, (mean, std) in enumerate(zip(data.mean, data.std, strict=True)):
        pixels = data.train.images[:, channel].double() / 255
        assert pixels.mean().item() == pytest.approx(mean, abs=2e-4)
        # The deviation that the benchmark uses is larger than the pixels' own by up to 1e-3.
        assert pixels.std().item() == pytest.approx(std, abs=1e-3)
