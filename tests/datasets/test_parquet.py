import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from relatum.datasets import cifar, decoded
from relatum.datasets.parquet import labelled_images, shards
from relatum.types import Fault

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def encoded(pixels: Tensor, kind: str = "png") -> bytes:
    stored = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(stored, kind, lossless=True)
    return stored.getvalue()


def images(samples: int, side: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(samples)
    return torch.randint(0, 256, (samples, 3, side, side), dtype=torch.uint8, generator=generator)


def write(path: Path, cells: list[Any], labels: list[Any], column: str = "label") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": cell, "path": None} for cell in cells]
    parquet.write_table(arrow.table({"img": rows, column: labels}), path)
    return path


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_images_and_labels_in_order(tmp_path: Path, kind: str) -> None:
    pixels = images(5)
    path = write(tmp_path / "x.parquet", [encoded(each, kind) for each in pixels], [4, 0, 1, 1, 9])
    found, labels = labelled_images(path, "label", classes=10, side=32)
    assert torch.equal(found, pixels)
    assert labels.tolist() == [4, 0, 1, 1, 9]


@pytest.mark.parametrize("label", [10, -1, None])
def test_a_label_out_of_range_is_named(tmp_path: Path, label: int | None) -> None:
    path = write(tmp_path / "x.parquet", [encoded(each) for each in images(2)], [0, label])
    with pytest.raises(Fault, match=f"row 1 has label {label} of 10 classes"):
        labelled_images(path, "label", classes=10, side=32)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (encoded(images(1)[0])[:-400], "cannot be read"),
        (b"rubbish", "cannot be read"),
        (None, "cannot be read"),
        (encoded(images(1, side=31)[0]), "wanted 32 by 32"),
        (encoded(images(1)[0, :1].repeat(4, 1, 1)), "wanted 32 by 32"),
    ],
)
def test_a_damaged_image_is_named(tmp_path: Path, cell: bytes | None, says: str) -> None:
    path = write(tmp_path / "x.parquet", [encoded(images(1)[0]), cell], [0, 1])
    with pytest.raises(Fault) as caught:
        labelled_images(path, "label", classes=10, side=32)
    assert str(caught.value).startswith(f"{path}: the image in row 1")
    assert says in str(caught.value)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", [encoded(each) for each in images(9)], [0] * 9)
    whole = path.read_bytes()
    for data in (whole[:-100], whole[: len(whole) // 2], b"", b"rubbish" * 9):
        path.write_bytes(data)
        with pytest.raises(Fault, match=r"x\.parquet: damaged Parquet \("):
            labelled_images(path, "label", classes=10, side=32)


def test_other_columns_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", [encoded(images(1)[0])], [0], column="fine_label")
    with pytest.raises(Fault, match="wanted columns img and label, it has img, fine_label"):
        labelled_images(path, "label", classes=10, side=32)


def test_a_missing_file_of_several_is_named(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"there is no train-\*\.parquet"):
        shards(tmp_path, "train")
    for place in (0, 2):
        (tmp_path / f"train-{place:05d}-of-00003.parquet").touch()
    with pytest.raises(Fault, match=r"train-00001-of-00003\.parquet is missing"):
        shards(tmp_path, "train")
    (tmp_path / "train-00001-of-00003.parquet").touch()
    assert [path.name[6:11] for path in shards(tmp_path, "train")] == ["00000", "00001", "00002"]


@pytest.mark.parametrize("place", ["cifar10", "cifar10/plain_text", "."])
def test_cifar_from_parquet(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    family = replace(cifar.CIFAR10, samples=(6, 2))
    pixels, others = images(6), images(2)
    for shard in (0, 1):
        part = [encoded(each) for each in pixels[3 * shard : 3 * shard + 3]]
        name = f"train-0000{shard}-of-00002.parquet"
        write(tmp_path / place / name, part, [shard] * 3)
    write(tmp_path / place / "test-00000-of-00001.parquet", [*map(encoded, others)], [8, 9])
    monkeypatch.setattr(decoded, "PATIENCE", -1.0)
    for _ in range(2):
        data = cifar.load(family, tmp_path)
        assert torch.equal(data.train.images, pixels)
        assert torch.equal(data.test.images, others)
        assert data.train.labels is not None
        assert data.test.labels is not None
        assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
        assert data.test.labels.tolist() == [8, 9]
