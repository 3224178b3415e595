from pathlib import Path

import pytest
import torch
from PIL import Image

from relatum.datasets import Dataset, load, tiny_imagenet
from relatum.types import Fault

WORDS = {
    "n03": "crane",
    "n01": "goldfish, Carassius auratus",
    "n02": "crane, a bird",
    "n09": "of no class here",
}


def colour(label: int, number: int) -> tuple[int, int, int]:
    return (label * 80, number * 10, 255)


def unpacked(root: Path) -> Path:
    """Three classes of two images to train, and three to validate, as the archive has them."""
    folder = root / "tiny-imagenet-200"
    ids = ["n01", "n02", "n03"]
    for label, name in enumerate(ids):
        images = folder / "train" / name / "images"
        images.mkdir(parents=True)
        for number in range(2):
            image = Image.new("RGB", (64, 64), colour(label, number))
            image.save(images / f"{name}_{number}.JPEG", quality=100)
        (folder / "train" / name / f"{name}_boxes.txt").write_text("")
    (folder / "val" / "images").mkdir(parents=True)
    listed = []
    for number, name in enumerate(("n03", "n01", "n03")):
        image = Image.new("L", (64, 64), 100 * number)  # some are grey
        image.save(folder / "val" / "images" / f"val_{number}.JPEG")
        listed.append(f"val_{number}.JPEG\t{name}\t0\t32\t44\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(listed))
    (folder / "wnids.txt").write_text("\n".join(reversed(ids)) + "\n")
    (folder / "words.txt").write_text("".join(f"{k}\t{v}\n" for k, v in WORDS.items()))
    return folder


def read(root: Path, size: int = 32, samples: tuple[int, int] = (6, 3)) -> Dataset:
    return tiny_imagenet.load(root, size=size, samples=samples)


@pytest.mark.parametrize("place", [".", "tiny-imagenet"])
def test_the_layout_of_the_archive(tmp_path: Path, place: str) -> None:
    unpacked(tmp_path / place)
    data = read(tmp_path)
    assert data.train.shape == (3, 32, 32)
    assert data.train.labels is not None
    assert data.test.labels is not None
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.test.labels.tolist() == [2, 0, 2]
    assert data.classes == ("goldfish", "n02", "n03")  # two kinds of crane
    means = data.train.images.double().mean((2, 3))
    wanted = [colour(label, number) for label in range(3) for number in range(2)]
    assert torch.allclose(means, torch.tensor(wanted).double(), atol=3)
    assert torch.allclose(
        data.test.images.double().mean((1, 2, 3)), torch.tensor([0.0, 100, 200]).double(), atol=2
    )
    assert "validation images" in data.note


def test_at_its_own_size(tmp_path: Path) -> None:
    unpacked(tmp_path)
    assert read(tmp_path, size=64).train.shape == (3, 64, 64)


def test_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked(tmp_path)
    with pytest.raises(Fault, match="lists 6 images where 100,000 are wanted"):
        load("tiny-imagenet", root=tmp_path)


def sorted_into_classes(folder: Path) -> None:
    (folder / "val" / "val_annotations.txt").unlink()


def damaged(folder: Path) -> None:
    (folder / "val" / "images" / "val_1.JPEG").write_bytes(b"\xff\xd8nonsense")


def strange(folder: Path) -> None:
    (folder / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn09\t1\t2\t3\t4\n" * 3)


def listless(folder: Path) -> None:
    (folder / "val" / "val_annotations.txt").write_text("val_0.JPEG\n" * 3)


def lost(folder: Path) -> None:
    (folder / "val" / "images" / "val_2.JPEG").unlink()


def empty(folder: Path) -> None:
    for image in (folder / "train" / "n02" / "images").iterdir():
        image.unlink()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (sorted_into_classes, "val_annotations.txt is missing: wanted is the layout of the arch"),
        (damaged, "val_1.JPEG: does not decode"),
        (strange, "val_0.JPEG: its class n09 is not in wnids.txt"),
        (listless, "line 1 names no class"),
        (lost, "val_2.JPEG is missing"),
        (empty, "train/n02/images holds no images"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, change: object, words: str) -> None:
    folder = unpacked(tmp_path)
    assert callable(change)
    change(folder)
    with pytest.raises(Fault) as caught:
        read(tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_downloads_only_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[tuple[str, str]] = []

    def fetch(name: str, url: str, root: Path, wanted: str) -> None:
        fetched.append((url.rpartition("/")[2], wanted))
        unpacked(root)

    monkeypatch.setattr(tiny_imagenet, "fetch_archive", fetch)
    with pytest.raises(Fault, match="tiny-imagenet is not here"):
        read(tmp_path)
    for _ in range(2):
        tiny_imagenet.load(tmp_path, download=True, samples=(6, 3))
    assert fetched == [("tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de")]
