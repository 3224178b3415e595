import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from relatum.datasets import Dataset, load
from relatum.types import Fault
from tests.datasets.test_folder import fill, labels, reds

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is built from files goes where the other memories of these tests go."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "datasets")


def image(red: int) -> bytes:
    stored = io.BytesIO()
    Image.new("RGB", (6, 8), (red, 0, 0)).save(stored, "png")
    return stored.getvalue()


def rows(some: range, kind: Any, names: list[Any]) -> Any:
    features = datasets.Features(
        {"id": datasets.Value("int64"), "photo": datasets.Image(), "kind": kind}
    )
    table = {
        "id": list(some),
        "photo": [{"bytes": image(red), "path": None} for red in some],
        "kind": [names[red % len(names)] for red in some],
    }
    return datasets.Dataset.from_dict(table, features=features)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    kind = datasets.ClassLabel(names=["zebra", "ant"])
    parts = {
        "train": rows(range(10), kind, [0, 1]),
        "validation": rows(range(20, 24), kind, [1, 0]),
    }
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


def test_a_saved_set(saved: Path) -> None:
    data = load(f"hf:{saved}", image_size=8)
    assert data.classes == ("zebra", "ant")  # in the order of their numbers
    assert reds(data, "train") == list(range(10))
    assert labels(data, "train") == [0, 1] * 5
    assert reds(data, "test") == [20, 21, 22, 23]
    assert labels(data, "test") == [1, 0, 1, 0]
    assert data.note.startswith("test part: the split 'validation'")
    assert data.train.names is not None
    assert data.train.names[:2] == ("train/00", "train/01")


def test_streamed_it_is_the_same(saved: Path) -> None:
    held, streamed = (
        load(f"hf:{saved}", image_size=8, memory=memory) for memory in ("resident", "streamed")
    )
    every = slice(0, 10)
    assert torch.equal(held.train.pixels(every), streamed.train.pixels(every))


def test_files_as_the_hub_has_them(tmp_path: Path) -> None:
    table = rows(range(10), datasets.ClassLabel(names=["a", "b"]), [0, 1])
    (tmp_path / "set" / "data").mkdir(parents=True)
    table.to_parquet(str(tmp_path / "set" / "data" / "train-00000-of-00001.parquet"))
    for text in (tmp_path / "set", tmp_path / "set" / "data" / "train-00000-of-00001.parquet"):
        data = load(f"hf:{text}", image_size=8)
        assert data.classes == ("a", "b")
        assert sorted(reds(data, "train") + reds(data, "test")) == list(range(10))
    fill(tmp_path / "images" / "train", {"x": 5, "y": 5})
    data = load(f"hf:{tmp_path / 'images'}", image_size=8)
    assert data.classes == ("x", "y")
    assert sorted(reds(data, "train") + reds(data, "test")) == list(range(10))


def test_rows_that_were_drawn_and_labels_that_are_texts(tmp_path: Path) -> None:
    table = rows(range(10), datasets.Value("string"), ["cat", "bird"])
    table.rename_column("kind", "label").select([7, 3, 9, 0, 1, 2]).save_to_disk(
        str(tmp_path / "x")
    )
    data = load(f"hf:{tmp_path / 'x'}", image_size=8)
    assert data.classes == ("bird", "cat")
    assert sorted(reds(data, "train") + reds(data, "test")) == [0, 1, 2, 3, 7, 9]
    assert all(
        (red % 2 == 0) == bool(label)
        for red, label in zip(reds(data, "train"), labels(data, "train"), strict=True)
    )


def test_a_broken_cell_is_named(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image()})
    cells = [{"bytes": image(red), "path": None} for red in range(9)]
    cells.insert(4, {"bytes": b"rubbish", "path": None})
    table = datasets.Dataset.from_dict({"image": cells}, features=features)
    table.save_to_disk(str(tmp_path / "x"))
    with pytest.raises(Fault, match=r"1 of 10 images of hf:.*: train/04 .no image of a known"):
        load(f"hf:{tmp_path / 'x'}")
    data = load(f"hf:{tmp_path / 'x'}", skip_broken=True)
    assert len(data.train) + len(data.test) == 9
    assert data.classes == ()


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(str(tmp_path / "texts"))
    with pytest.raises(Fault, match=r"no column holds images; there are text"):
        load(f"hf:{tmp_path / 'texts'}")
    with pytest.raises(Fault, match="there is no such set"):
        load(f"hf:{tmp_path / 'gone'}")
    parts = {name: rows(range(4), datasets.Value("string"), ["x"]) for name in ("one", "two")}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "parts"))
    with pytest.raises(Fault, match="has no split 'train'; there are one, two"):
        load(f"hf:{tmp_path / 'parts'}")


def test_nothing_is_fetched_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    before = datasets.config.HF_HUB_OFFLINE

    def refused(*_: Any) -> Any:
        asked.append(datasets.config.HF_HUB_OFFLINE)
        raise ConnectionError("not here")

    monkeypatch.setattr(datasets, "load_dataset", refused)
    with pytest.raises(
        Fault, match=r"hf:someone/pets cannot be loaded \(not here\); run again with"
    ):
        load("hf:someone/pets")
    with pytest.raises(Fault, match="mend it"):
        load("hf:someone/pets", download=True)
    assert asked == [True, before]
    assert before == datasets.config.HF_HUB_OFFLINE
    monkeypatch.undo()

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.getaddrinfo", never)
    with pytest.raises(Fault, match="hf:someone/pets cannot be loaded"):
        load("hf:someone/pets")


def stored(tmp_path: Path, **kinds: list[int | None]) -> str:
    """A set with these classes in its splits, whatever its column names."""
    folder = tmp_path / "set"
    for split, each in kinds.items():
        table = rows(range(len(each)), datasets.Value("int64"), each).data.table
        features = datasets.Features(
            {
                "id": datasets.Value("int64"),
                "photo": datasets.Image(),
                "kind": datasets.ClassLabel(names=["a", "b"]),
            }
        )
        info = datasets.DatasetInfo(features=features)
        table = table.replace_schema_metadata(None)
        kinds[split] = datasets.Dataset(table, info=info)
    datasets.DatasetDict(kinds).save_to_disk(str(folder))
    return f"hf:{folder}"


@pytest.mark.parametrize("strange", [-2, 2])
def test_a_class_that_its_column_does_not_name_is_refused(tmp_path: Path, strange: int) -> None:
    text = stored(tmp_path, train=[0, 1, 1, 0, strange, 1])
    with pytest.raises(Fault, match=f"image 4 of the split 'train' has the class {strange}, and"):
        load(text)


def test_a_split_without_labels_is_passed_over(tmp_path: Path) -> None:
    text = stored(tmp_path / "x", train=[0, 1] * 5, test=[-1] * 4, validation=[0, 1, 1])
    data = load(text, image_size=8)
    assert labels(data, "test") == [0, 1, 1]
    assert "the split 'validation'; the split 'test' has no labels" in data.note
    data = load(stored(tmp_path / "y", train=[0, 1] * 5, test=[None] * 4), image_size=8)
    assert len(data.test) == 2
    assert "a fifth held back, always the same; the split 'test' has no labels" in data.note
    data = load(stored(tmp_path / "z", train=[-1] * 10, test=[0, 1, 0]), image_size=8)
    assert (data.classes, data.train.labels, len(data.test)) == ((), None, 3)
    assert "the split 'test'; the split 'train' has no labels" in data.note
    with pytest.raises(Fault, match="1 of 3 images of the split 'train' have no kind; leave them"):
        load(stored(tmp_path / "part", train=[0, -1, 1]))


def test_a_named_test_part_is_never_passed_over(tmp_path: Path) -> None:
    text = stored(tmp_path / "x", train=[0, 1] * 5, held=[-1] * 4)
    says = r"the split 'held' has no labels and 'train' has; name another behind '#', or none: a"
    with pytest.raises(Fault, match=says):
        load(f"{text}#test=held", image_size=8)
    assert len(load(text, image_size=8).test) == 2  # nobody asked for it
    text = stored(tmp_path / "y", train=[-1] * 10, held=[-1] * 4)
    assert len(load(f"{text}#test=held", image_size=8).test) == 4


@pytest.mark.parametrize(
    ("gone", "says"), [("kind", "'held' has no labels and 'train' has"), ("photo", "no column 'ph")]
)
def test_splits_of_other_columns(tmp_path: Path, gone: str, says: str) -> None:
    kind = datasets.ClassLabel(names=["a", "b"])
    train, held = rows(range(10), kind, [0, 1]), rows(range(4), kind, [0, 1])
    parts = datasets.DatasetDict({"train": train, "held": held.remove_columns(gone)})
    parts.save_to_disk(str(tmp_path / "set"))
    with pytest.raises(Fault, match=says):
        load(f"hf:{tmp_path / 'set'}#test=held", image_size=8)


def test_a_class_of_several_that_stands_alone_keeps_its_labels(tmp_path: Path) -> None:
    data = load(stored(tmp_path, train=[1] * 10), image_size=8)
    assert (data.classes, labels(data, "train")) == (("a", "b"), [1] * 8)
    assert [each for each in data.said if "class" in each] == [
        f"{data.name} has 2 classes, and all images to learn from are of one, 'b'"
    ]


def bare(folder: Path) -> Path:
    """Parquet that says of no column that it holds images."""
    import pyarrow as arrow
    from pyarrow import parquet

    columns = {
        "scan": [{"bytes": image(red), "path": None} for red in range(10)],
        "mask": [{"bytes": image(100 + red), "path": None} for red in range(10)],
        "what": ["cat", "bird"] * 5,
        "boxes": [[1.0]] * 10,
        "score": [0.5, float("nan")] * 5,
    }
    folder.mkdir()
    parquet.write_table(arrow.table(columns), folder / "all.parquet")
    return folder


@pytest.mark.parametrize("memory", ["resident", "streamed"])
def test_columns_that_are_named(tmp_path: Path, memory: Any) -> None:
    text = f"hf:{bare(tmp_path / 'bare')}"

    def seen(data: Dataset) -> list[int]:
        parts = (data.train, data.test)
        return sorted(n for part in parts for n in part.pixels(slice(0, 10))[:, 0, 0, 0].tolist())

    data = load(text, image_size=8, memory=memory)
    assert (data.classes, seen(data)) == ((), list(range(10)))
    data = load(f"{text}#image=mask, label=what", image_size=8, memory=memory)
    assert (data.classes, seen(data)) == (("bird", "cat"), list(range(100, 110)))


def test_splits_that_are_named(saved: Path) -> None:
    data = load(f"hf:{saved}#train=validation,test=train", image_size=8)
    assert reds(data, "train") == [20, 21, 22, 23]
    assert reds(data, "test") == list(range(10))


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("#label=wat", "has no column 'wat'; the nearest is 'what', there are scan (images), mask"),
        ("#label=boxes", "'boxes' holds list, and classes are whole numbers or texts; there are"),
        ("#label=score", "'score' holds float64, and classes are whole numbers or texts"),
        ("#image=what", "'what' holds no images; there are scan (images), mask (images), what"),
        ("#train=tran", "has no split 'tran'; there are train"),
        ("#test=train", "learns from the split 'train', and cannot be judged on it too"),
        ("#one,two", "behind '#' stands a configuration, and what columns and splits are called"),
        ("#colour=red", "image=…, label=…, train=…, test=…; got 'colour=red'"),
        ("#fine", "cannot be loaded (BuilderConfig 'fine' not found"),
    ],
)
def test_a_wrong_name_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], named: str, says: str
) -> None:
    with pytest.raises(Fault, match=re.escape(says)) as caught:
        load(f"hf:{bare(tmp_path / 'bare')}{named}")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_sets_that_are_damaged(
    tmp_path: Path, saved: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    with pytest.raises(Fault, match="a saved set has no configurations; leave '#fine' out"):
        load(f"hf:{saved}#fine")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Fault, match=r"doesn't contain any data files.*; mend it"):
        load(f"hf:{tmp_path / 'empty'}")
    (tmp_path / "empty" / "train.parquet").write_bytes(b"PAR1rubbish")
    with pytest.raises(Fault, match=r"cannot be loaded \(Parquet magic.*; mend it"):
        load(f"hf:{tmp_path / 'empty'}")
    assert capfd.readouterr().err == ""  # datasets would say it in lines of its own
