import os
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pytest
from pyarrow import parquet

from relatum.datasets import load
from relatum.types import Fault
from tests.datasets.test_folder import labels, paint, reds


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten images, known by their reds, below a folder with room for tables."""
    for red in range(10):
        paint(tmp_path / "photos" / f"{red}, é.png", red)
    return tmp_path


def write(path: Path, head: str, rows: list[str]) -> str:
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return f"table:{path}"


def lines(*more: Any, end: str = "") -> list[str]:
    return [
        f'"photos/{red}, é.png"{end}' + "".join(f",{each(red)}" for each in more)
        for red in range(10)
    ]


def test_paths_alone_have_no_labels(photos: Path) -> None:
    data = load(write(photos / "list.csv", "path", lines()), image_size=8)
    assert data.classes == ()
    assert sorted(reds(data, "train") + reds(data, "test")) == list(range(10))
    assert data.note.startswith("test part: a fifth held back, always the same")
    assert data.train.names is not None
    assert data.train.names[0] == "photos/0, é.png"


def test_classes_and_parts(photos: Path) -> None:
    rows = lines(
        lambda red: "cat" if red % 2 else "bird", lambda red: "test" if red > 6 else "train"
    )
    data = load(write(photos / "list.csv", "Image,Label,Split", rows), image_size=8)
    assert data.classes == ("bird", "cat")
    assert reds(data, "train") == list(range(7))
    assert labels(data, "train") == [0, 1, 0, 1, 0, 1, 0]
    assert labels(data, "test") == [1, 0, 1]
    assert data.note.startswith("test part: what the table calls 'test'")


def test_columns_may_be_named_and_numbers_are_in_order(photos: Path) -> None:
    rows = lines(lambda red: [10, 9, 100][red % 3], lambda red: "x")
    text = write(photos / "list.csv", "where,what,other", rows)
    with pytest.raises(
        Fault, match=r"There are where, what, other; name it behind '#': list\.csv#im"
    ):
        load(text)
    data = load(f"{text}#image=where,label=what", image_size=8)
    assert data.classes == ("9", "10", "100")
    with pytest.raises(Fault, match="no column 'wat'; the nearest is 'what'"):
        load(f"{text}#image=where,label=wat")
    with pytest.raises(Fault, match="stand the names of columns"):
        load(f"{text}#where")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators(photos: Path, separator: str) -> None:
    rows = [f'"photos/{red}, é.png"{separator}{red % 2}' for red in range(10)]
    kind = "csv" if separator == ";" else "tsv"
    path = photos / f"list.{kind}"
    path.write_text(f"\ufefffile{separator}class\r\n" + "\r\n".join(rows), encoding="utf-8")
    assert load(str(path), image_size=8).classes == ("0", "1")


def test_parquet(photos: Path) -> None:
    table = arrow.table(
        {
            "path": [str(photos / "photos" / f"{red}, é.png") for red in range(10)],
            "label": [red % 2 for red in range(10)],
            "part": ["train"] * 6 + ["validation"] * 2 + ["extra"] * 2,
        }
    )
    parquet.write_table(table, photos / "list.parquet")
    data = load(str(photos / "list.parquet"), image_size=8)
    assert reds(data, "train") == list(range(6))
    assert reds(data, "test") == [6, 7]
    assert labels(data, "test") == [0, 1]
    assert "test part: what the table calls 'validation'; what is 'extra' is left out" in data.note
    parquet.write_table(arrow.table({"image": [{"bytes": b"x"}]}), photos / "cells.parquet")
    with pytest.raises(Fault, match=r"holds the images themselves.* name it hf:"):
        load(str(photos / "cells.parquet"))
    (photos / "list.parquet").write_bytes(b"rubbish")
    with pytest.raises(Fault, match="damaged Parquet"):
        load(str(photos / "list.parquet"))


@pytest.mark.parametrize(
    ("head", "rows", "says"),
    [
        ("path", [], "the table has no rows"),
        ("path,label", ["a.png,", "b.png,x"], "1 of 2 rows have nothing in column 'label'.* row 2"),
        ("path,label", ["a.png"], "row 2 has 1 columns, the first has 2"),
        ("path,split", ["a.png,one", "b.png,two"], "names none 'train'; it has one, two"),
        ("path", ["gone.png", "also.png"], "2 of 2 images .* gone.png .no such file or directory"),
    ],
)
def test_what_cannot_be_is_refused(photos: Path, head: str, rows: list[str], says: str) -> None:
    with pytest.raises(Fault, match=says) as caught:
        load(write(photos / "list.csv", head, rows))
    assert "\n" not in str(caught.value)


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="there is no such table"):
        load(f"table:{tmp_path / 'gone.csv'}")
    (tmp_path / "x.csv").write_bytes(b"path\n\xff\xfe\x00")
    with pytest.raises(Fault, match="is no table of text"):
        load(str(tmp_path / "x.csv"))


def test_a_class_of_the_test_part_alone_is_refused(photos: Path) -> None:
    rows = lines(lambda red: red, lambda red: "test" if red > 6 else "train")
    with pytest.raises(Fault, match="class '7' of the test part is none of the training part's 7"):
        load(write(photos / "list.csv", "path,label,split", rows))


def test_an_image_is_in_one_part_and_of_one_class(photos: Path) -> None:
    rows = lines(lambda red: "ab"[red % 2], lambda red: "test" if red > 7 else "train")
    again = '"./photos/../photos/9, é.png"'
    for row, says in (
        (f"{again},b,train", "rows 12 and 11 list '.*9, é.png' to learn from and for the test"),
        (f"{again},a,test", "rows 11 and 12 list .* as 'b' and as 'a': an image has one class"),
    ):
        with pytest.raises(Fault, match=says):
            load(write(photos / "list.csv", "image,label,split", [*rows, row]))
    with pytest.raises(Fault, match=r"rows 11 and 12 list .* both: what is held back"):
        load(write(photos / "list.csv", "image", [*lines(), again]))
    # twice alike it counts twice, and what is left out does not count
    more = [f"{again},b,test", f"{again},a,spare"]
    data = load(write(photos / "list.csv", "image,label,split", [*rows, *more]), image_size=8)
    assert reds(data, "test") == [8, 9, 9]


def test_a_column_that_is_there_twice_is_refused(photos: Path) -> None:
    rows = lines(lambda red: "a", lambda red: red % 2)
    with pytest.raises(Fault, match="two columns are called 'label'; rename one"):
        load(write(photos / "list.csv", "path,label,label", rows))
    table = arrow.table([["x"], ["y"], ["z"]], names=["path", "label", "label"])
    parquet.write_table(table, photos / "list.parquet")
    with pytest.raises(Fault, match="two columns are called 'label'; rename one"):
        load(str(photos / "list.parquet"))
    nameless = lines(lambda red: "", lambda red: "")
    assert load(write(photos / "list.csv", "path,,", nameless)).classes == ()


def test_rows_name_files_and_no_homes(photos: Path) -> None:
    paint(photos / "~nobody" / "x.png", 10)
    rows = [*lines(), "~nobody/x.png"]
    data = load(write(photos / "list.csv", "path", rows), image_size=8)
    assert sorted(reds(data, "train") + reds(data, "test")) == list(range(11))


@pytest.mark.parametrize("missing", ["nan", "NaN", ""])
def test_not_a_number_is_no_class(photos: Path, missing: str) -> None:
    rows = lines(lambda red: missing if red == 4 else f"{red % 2}.0")
    with pytest.raises(
        Fault, match="1 of 10 rows have nothing in column 'label', the first is row"
    ):
        load(write(photos / "list.csv", "path,label", rows))
    none = lines(lambda red: missing)
    assert load(write(photos / "list.csv", "path,label", none)).classes == ()
    paths = [f"photos/{red}, é.png" for red in range(10)]
    marked = arrow.table({"path": paths, "label": [float("nan"), *[1.0, 2.0, 3.0] * 3]})
    parquet.write_table(marked, photos / "list.parquet")
    with pytest.raises(Fault, match=r"1 of 10 rows have nothing in column 'label'.* row 2"):
        load(str(photos / "list.parquet"))


def test_a_class_may_be_called_nan(photos: Path) -> None:
    rows = lines(lambda red: ["nan", "roti"][red % 2])
    assert load(write(photos / "list.csv", "path,label", rows)).classes == ("nan", "roti")


def test_one_class_tells_nothing_and_that_is_said(photos: Path) -> None:
    data = load(write(photos / "list.csv", "path,label", lines(lambda red: "cat")))
    assert (data.classes, data.train.labels) == ((), None)
    assert any(
        each.endswith("has one class, 'cat', which tells nothing: no labels") for each in data.said
    )


def test_paths_of_anywhere_and_of_what_is_no_picture(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    rows = [f"../photos/{red}, é.png".join('""') for red in range(9)]
    rows += [f'"{photos / "photos"}/9, é.png"']
    path = write(tmp_path / "deep" / "list.csv", "path", rows)
    data = load(path, image_size=8)
    assert sorted(reds(data, "train") + reds(data, "test")) == list(range(10))
    os.mkfifo(tmp_path / "deep" / "pipe.png")
    for strange, reason in (
        ("/etc/passwd", "no image of a known format"),
        ("/dev/zero", "an empty file"),
        ("pipe.png", "an empty file"),  # and nobody waits for its writer
        ("../photos", "is a directory"),
        (f"/{'x' * 5000}.png", "file name too long"),
    ):
        with pytest.raises(Fault, match=f"1 of 11 images .*{reason}"):
            load(write(tmp_path / "deep" / "list.csv", "path", [*rows, strange]))
