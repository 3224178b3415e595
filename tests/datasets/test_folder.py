import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from relatum.datasets import Dataset, decoded, folder, load
from relatum.datasets.picture import picture
from relatum.types import Fault


def paint(path: Path, red: int = 0) -> None:
    """An image that is known by its red."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 8), (red, 0, 0)).save(path)


def fill(path: Path, classes: dict[str, int], red: int = 0) -> None:
    for name, count in classes.items():
        for _ in range(count):
            paint(path / name / f"{red:03d}.png", red)
            red += 1


def reds(data: Dataset, part: str) -> list[int]:
    images: torch.Tensor = getattr(data, part).images
    return images[:, 0, 0, 0].tolist()


def labels(data: Dataset, part: str) -> list[int]:
    found: torch.Tensor | None = getattr(data, part).labels
    assert found is not None
    return found.tolist()


@pytest.mark.parametrize("test", ["val", "test", "valid", "validation"])
def test_with_split_and_classes(tmp_path: Path, test: str) -> None:
    fill(tmp_path / "train", {"cat": 2, "bird": 3})
    fill(tmp_path / test, {"cat": 2}, red=100)
    (tmp_path / "annotations").mkdir()
    data = load(f"folder:{tmp_path}")
    assert data.classes == ("bird", "cat")
    assert reds(data, "train") == [2, 3, 4, 0, 1]
    assert labels(data, "train") == [0, 0, 0, 1, 1]
    assert reds(data, "test") == [100, 101]
    assert labels(data, "test") == [1, 1]
    assert data.train.shape == (3, 64, 64)
    assert data.mean == (0.485, 0.456, 0.406)
    assert data.note == f"test part: {test}/; held in memory"


def test_test_goes_before_val(tmp_path: Path) -> None:
    for part, red in (("train", 0), ("val", 50), ("test", 90)):
        fill(tmp_path / part, {"a": 2, "b": 2}, red)
    assert reds(load(str(tmp_path)), "test") == [90, 91, 92, 93]


def test_without_split_a_stratified_fifth_is_held_back(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 10, "b": 20})
    data, again = load(str(tmp_path), image_size=8), load(f"folder:{tmp_path}", image_size=8)
    assert sorted(reds(data, "train") + reds(data, "test")) == list(range(30))
    assert labels(data, "test") == [0, 0, 1, 1, 1, 1]
    assert reds(data, "test") == reds(again, "test")
    assert data.train.shape == (3, 8, 8)
    assert all(
        (red >= 10) == bool(label)
        for red, label in zip(reds(data, "train"), labels(data, "train"), strict=True)
    )


def test_train_alone_is_split(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"a": 5, "b": 5})
    data = load(str(tmp_path))
    assert data.classes == ("a", "b")
    assert len(data.test) == 2


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    fill(tmp_path, {"car": 5, "plane": 5, "train": 5})
    assert load(str(tmp_path)).classes == ("car", "plane", "train")


def test_images_without_folders_have_no_labels(tmp_path: Path) -> None:
    fill(tmp_path / "one", {".": 10})
    data = load(str(tmp_path / "one"))
    assert data.classes == ()
    assert data.train.labels is None
    assert data.test.labels is None
    assert [each for each in data.said if each.endswith("has no class folders: no labels are used")]
    assert sorted(reds(data, "train") + reds(data, "test")) == list(range(10))
    fill(tmp_path / "two" / "train", {".": 3})
    fill(tmp_path / "two" / "val", {".": 2}, red=9)
    data = load(str(tmp_path / "two"))
    assert reds(data, "train") == [0, 1, 2]
    assert reds(data, "test") == [9, 10]


def test_one_class_tells_nothing(tmp_path: Path) -> None:
    fill(tmp_path, {"images": 10})
    data = load(str(tmp_path))
    assert data.classes == ()
    assert data.train.labels is None


def test_hidden_and_foreign_files_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 5, "b/deep/deeper": 5, ".hidden": 5})
    (tmp_path / "a" / ".x.png").write_bytes(b"rubbish")
    (tmp_path / "a" / "notes.txt").write_bytes(b"rubbish")
    (tmp_path / "README").write_bytes(b"rubbish")
    (tmp_path / "a" / "004.png").rename(tmp_path / "a" / "004.PNG")
    data = load(str(tmp_path))
    assert data.classes == ("a", "b")
    assert len(data.train) + len(data.test) == 10


def test_links_that_run_in_a_circle_end(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 5, "b/deep": 5})
    os.symlink(tmp_path / "b", tmp_path / "b" / "deep" / "again")
    os.symlink(tmp_path, tmp_path / "b" / "whole")
    os.symlink("self", tmp_path / "a" / "self")
    os.symlink(tmp_path / "a", tmp_path / "c")
    data = load(str(tmp_path))
    assert data.classes == ("a", "b", "c")
    counts = torch.tensor(labels(data, "train") + labels(data, "test")).bincount().tolist()
    assert counts == [5, 10, 5]


def fault(path: Path, size: int | None = None) -> str:
    with pytest.raises(Fault) as caught:
        folder.load(path, size)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    assert "no such folder" in fault(tmp_path / "nowhere")
    assert "holds no images" in fault(tmp_path)
    (tmp_path / "a").mkdir()
    assert "holds no images" in fault(tmp_path)
    fill(tmp_path, {"b": 2})
    assert fault(tmp_path).startswith(f"{tmp_path / 'a'}: the class folder holds no images")
    paint(tmp_path / "a" / "x.png")
    assert "at least one pixel" in fault(tmp_path, 0)
    paint(tmp_path / "loose.png")
    assert "images beside class folders (loose.png beside a/)" in fault(tmp_path)


def test_too_few_to_hold_back(tmp_path: Path) -> None:
    fill(tmp_path, {".": 2})
    assert "2 images are too few to hold a fifth back" in fault(tmp_path)


def test_a_strange_test_class_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"cat": 2, "dog": 2})
    fill(tmp_path / "val", {"cat": 2, "horse": 2})
    assert "class 'horse' is not in" in fault(tmp_path)
    assert "which has cat, dog" in fault(tmp_path)


@pytest.mark.parametrize("data", [b"rubbish", b""])
def test_an_image_that_does_not_decode_is_named(tmp_path: Path, data: bytes) -> None:
    fill(tmp_path, {"a": 3, "b": 3})
    bad = tmp_path / "b" / "004.png"
    bad.write_bytes(data)
    reason = "no image of a known format" if data else "an empty file"
    said = fault(tmp_path)
    assert said.startswith(
        f"1 of 6 images of folder:{tmp_path} cannot be read: b/004.png ({reason})"
    )
    assert said.endswith("mend or remove them, or leave them out (--skip-broken)")


def test_a_broken_link_is_named(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 3, "b": 3})
    os.symlink(tmp_path / "gone", tmp_path / "b" / "x.jpg")
    assert "cannot be read: b/x.jpg (a link that leads nowhere); mend" in fault(tmp_path)


def test_remembered_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "PATIENCE", -1.0)
    path = tmp_path / "photos"
    fill(path, {"a": 5, "b": 5})
    before = load(str(path))
    calls: list[Path] = []

    def counted(file: Path, size: int, name: str = "") -> torch.Tensor:
        calls.append(file)
        return picture(file, size, name)

    monkeypatch.setattr("relatum.datasets.originals.picture", counted)
    assert torch.equal(load(str(path)).train.images, before.train.images)
    assert not calls
    paint(path / "a" / "000.png", red=200)
    assert 200 in reds(load(str(path)), "train") + reds(load(str(path)), "test")
    load(str(path), image_size=16)
    assert len(calls) == 20


def test_real_photographs(real: Path) -> None:
    data = load(str(real / "photos"), image_size=32)
    assert len(data.classes) == 10
    assert data.train.shape == (3, 32, 32)
    for part in ("train", "val"):
        names = sorted(entry.name for entry in (real / "photos" / part).iterdir())
        assert tuple(names) == data.classes
    counts = [len(list((real / "photos" / "train" / name).iterdir())) for name in data.classes]
    assert data.train.labels is not None
    assert data.train.labels.bincount().tolist() == counts
