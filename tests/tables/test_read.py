"""Tables of every kind of file give the same rows, and what is wrong with one is said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from relatum.types import Fault
from tests.tables.made import opened, saved

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
LOGITS = np.arange(8, dtype=np.float32).reshape(4, 2)


def test_an_array_is_mapped(tmp_path: Path) -> None:
    for kind in (np.float16, np.float32, np.float64, ">f4", np.int8):
        np.save(tmp_path / "a.npy", ROWS.astype(kind))
        table = opened(tmp_path / "a.npy")
        wanted = torch.from_numpy(ROWS.astype(kind).astype(np.dtype(kind).newbyteorder("=")))
        assert torch.equal(table.values["embedding"], wanted)
        assert table.keys is None
    np.save(tmp_path / "f.npy", np.asfortranarray(ROWS))
    assert torch.equal(opened(tmp_path / "f.npy").values["embedding"], torch.from_numpy(ROWS))
    assert opened(tmp_path / "a.npy", "#logits").values.keys() == {"output"}
    assert opened(tmp_path / "a.npy", "#logits").sha256 != opened(tmp_path / "a.npy").sha256


def test_tensors_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    rows = {"embedding": torch.from_numpy(ROWS).half(), "logits": torch.from_numpy(LOGITS)}
    save_file({**rows, "index": torch.tensor([3, 1, 0, 2])}, path)
    table = opened(path)
    assert table.values["embedding"].dtype is torch.float16
    assert torch.equal(table.values["output"], rows["logits"])
    assert isinstance(table.keys, torch.Tensor)
    assert table.keys.tolist() == [3, 1, 0, 2]
    assert table.width == {"embedding": 3, "output": 2}


def test_one_tensor_needs_no_name_and_names_lie_in_the_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"x": torch.from_numpy(ROWS)}, path, {"names": json.dumps(["a", "b", "c", "d"])})
    assert opened(path).keys == ("a", "b", "c", "d")
    save_file({"x": torch.from_numpy(ROWS), "y": torch.from_numpy(LOGITS)}, path)
    with pytest.raises(Fault, match=r"has x, y; say which is what: table:.*#embedding=NAME"):
        opened(path)
    assert opened(path, "#embedding=y").width == {"embedding": 2}
    with pytest.raises(Fault, match=r"no tensor 'z' \(embedding\); it has x, y"):
        opened(path, "#embedding=z")


@pytest.mark.parametrize(
    "cells",
    [
        pa.array(ROWS.tolist(), pa.list_(pa.float32())),
        pa.array(ROWS.tolist(), pa.large_list(pa.float32())),
        pa.array(ROWS.tolist(), pa.list_(pa.float32(), 3)),
        pa.FixedShapeTensorArray.from_numpy_ndarray(ROWS),
        pa.chunked_array([ROWS[:1].tolist(), ROWS[1:].tolist()], pa.list_(pa.float32())),
        pa.chunked_array([[], ROWS.tolist()], pa.list_(pa.float32())),
    ],
    ids=["list", "large list", "fixed list", "tensor", "chunks", "empty chunk"],
)
def test_columns_of_lists(cells: Any, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.parquet", path=["a", "b", "c", "d"], label=[0, 1, 2, 3], e=cells)
    table = opened(path)
    assert table.keys == ("a", "b", "c", "d")
    assert torch.equal(table.values["embedding"], torch.from_numpy(ROWS))


def test_half_precision_stays_and_wide_whole_numbers_become_floats(tmp_path: Path) -> None:
    half = pa.array(list(ROWS.astype(np.float16)), pa.list_(pa.float16()))
    assert opened(saved(tmp_path / "a.parquet", e=half)).values["embedding"].dtype is torch.float16
    wide = pa.array([[2**40, 1]], pa.list_(pa.uint64()))
    values = opened(saved(tmp_path / "b.parquet", e=wide)).values["embedding"]
    assert values.tolist() == [[2.0**40, 1.0]]


def test_a_column_for_each_dimension(tmp_path: Path) -> None:
    columns = {f"dim_{place}": ROWS[:, place] for place in (2, 0, 1)}
    path = saved(tmp_path / "a.parquet", index=[1, 0, 2, 3], **columns)
    table = opened(path)
    assert torch.equal(table.values["embedding"], torch.from_numpy(ROWS))
    assert isinstance(table.keys, torch.Tensor)
    assert table.keys.tolist() == [1, 0, 2, 3]


def test_a_label_is_no_key(tmp_path: Path) -> None:
    """One column of text is the key where it tells rows apart: numbers may count anything."""
    labels = saved(tmp_path / "a.parquet", e=ROWS.tolist(), label=list("abba"), index=[1, 0, 2, 3])
    found = opened(labels).keys
    assert isinstance(found, torch.Tensor)
    assert found.tolist() == [1, 0, 2, 3]
    photos = saved(tmp_path / "b.parquet", e=ROWS.tolist(), photo=list("abcd"), id=[1, 2, 3, 4])
    assert opened(photos).keys == tuple("abcd")


def test_comma_separated(tmp_path: Path) -> None:
    lines = ["file,e0,e1", *(f"{name}.jpg,{place},0.5" for place, name in enumerate("abc"))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    table = opened(tmp_path / "a.csv")
    assert table.keys == ("a.jpg", "b.jpg", "c.jpg")
    assert table.values["embedding"].tolist() == [[0.0, 0.5], [1.0, 0.5], [2.0, 0.5]]


def test_columns_are_named_where_they_cannot_be_seen(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.parquet", one=ROWS.tolist(), two=LOGITS.tolist(), a=list("abcd"))
    with pytest.raises(Fault, match=r"embedding\? those of numbers are 'one', 'two'; say table:"):
        opened(path)
    assert opened(path, "#embedding=two,logits=one").width == {"embedding": 2, "output": 3}
    with pytest.raises(Fault, match=r"no lists of numbers 'three' \(logits\); those are: one, two"):
        opened(path, "#logits=three")
    both = saved(tmp_path / "b.parquet", e=ROWS.tolist(), left=list("abcd"), right=list("abcd"))
    with pytest.raises(Fault, match=r"has the file names\? left, right; say table:"):
        opened(both)
    assert opened(both, "#key=left").keys == tuple("abcd")
    with pytest.raises(Fault, match=r"no column 'up' \(key\); e, left, right"):
        opened(both, "#key=up")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "ragged": (
        {"e": [[1.0, 2.0], [1.0], [2.0, 3.0]]},
        "row 1 of 'e' has 1 numbers and row 0 has 2",
    ),
    "nothing": ({"e": [[1.0], None]}, "row 1 has nothing in 'e'"),
    "a hole": ({"e": [[1.0, 2.0], [1.0, None]]}, "row 1 of 'e' lacks a number"),
    "no key": ({"e": [[1.0], [2.0]], "path": ["a", None]}, "row 1 has nothing in 'path'"),
    "below zero": ({"e": [[1.0], [2.0]], "index": [0, -1]}, "row 1 has the index -1; wanted 0 or"),
    "empty": ({"e": pa.array([], pa.list_(pa.float32()))}, "the table has no rows"),
    "no width": ({"e": [[], []]}, "which column is the embedding|embedding is 2 by 0 numbers"),
    "beyond": (
        {"e": [[1.0], [2.0]], "index": pa.array([0, 2**63], pa.uint64())},
        "row 1 has the index 9223372036854775808, which is no image's index",
    ),
    "texts": ({"e": ["1 2", "3 4"]}, "which column is the embedding? those of numbers are none"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_with_columns_is_said(case: str, tmp_path: Path) -> None:
    columns, said = BAD[case]
    with pytest.raises(Fault, match=said.replace("?", r"\?")):
        opened(saved(tmp_path / "a.parquet", **columns))


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="there is no such file"):
        opened(tmp_path / "a.npy")
    for name in ("a.npy", "a.safetensors", "a.parquet"):
        (tmp_path / name).write_bytes(b"\x93NUMPY and nothing else")
        with pytest.raises(Fault, match=r"no array|damaged"):
            opened(tmp_path / name)
    np.save(tmp_path / "b.npy", np.array([{"a": 1}, {}]), allow_pickle=True)
    with pytest.raises(Fault, match="no array of numbers"):
        opened(tmp_path / "b.npy")
    for array, said in (
        (np.zeros(3), "embedding is 3 numbers"),
        (np.zeros((2, 2, 2)), "embedding is 2 by 2 by 2 numbers"),
        (np.zeros((3, 2), complex), "holds complex128"),
        (np.array([["a"]]), "holds <U1"),
    ):
        np.save(tmp_path / "c.npy", array)
        with pytest.raises(Fault, match=said):
            opened(tmp_path / "c.npy")
    (tmp_path / "d.npy").mkdir()
    with pytest.raises(Fault, match="is a folder"):
        opened(tmp_path / "d.npy")
    with pytest.raises(Fault, match=r"an .npy is one array, without columns"):
        opened(tmp_path / "c.npy", "#embedding=a")


def test_tensors_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for more, said in (
        ({"logits": torch.zeros(3, 2)}, "4 of embedding, 3 of output"),
        ({"index": torch.zeros(3, dtype=torch.int64)}, "4 of embedding and 3 keys"),
        ({"index": torch.zeros(4)}, "an index is a whole number"),
        ({"index": torch.zeros(4, 1, dtype=torch.int64)}, "has 2 axes"),
    ):
        save_file({"embedding": torch.from_numpy(ROWS), **more}, path)
        with pytest.raises(Fault, match=said):
            opened(path)
    for text in ("no list", "[1]"):
        save_file({"x": torch.from_numpy(ROWS)}, path, {"names": text})
        with pytest.raises(Fault, match="is no JSON list of file names"):
            opened(path)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    before = opened(tmp_path / "a.npy")
    assert opened(tmp_path / "a.npy") is before
    np.save(tmp_path / "a.npy", np.concatenate([ROWS, ROWS]))
    after = opened(tmp_path / "a.npy")
    assert len(after) == 8
    assert after.sha256 != before.sha256


@pytest.mark.parametrize(
    ("head", "cells", "wanted"),
    [
        ("file_name", "1000 1001", ("1000", "1001")),
        ("File_Name", "0001 0002", ("0001", "0002")),
        ("path", "0001. 0002.", ("0001.", "0002.")),
        ("file_name", "2024-01-03 2024-01-04", ("2024-01-03", "2024-01-04")),
        ("id", "0001 0002", ("0001", "0002")),
        ("id", "1 0", [1, 0]),
        ("photo", "0001 0002", ("0001", "0002")),
    ],
)
def test_file_names_of_a_csv_are_text_however_they_look(
    head: str, cells: str, wanted: object, tmp_path: Path
) -> None:
    lines = [f"{head},e0,e1", *(f"{each},1,0.5" for each in cells.split())]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    keys = opened(tmp_path / "a.csv", "#key=photo" if head == "photo" else "").keys
    assert (keys.tolist() if isinstance(keys, torch.Tensor) else keys) == wanted


def test_a_csv_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    for text, said in (
        ("file_name,e0,e1\na.jpg,1,2\nbé.jpg,1,2", "'file_name' holds text that is no UTF-8"),
        ("fiché,e0,e1\na.jpg,1,2", "the names of its columns are no UTF-8; save it as UTF-8"),
    ):
        (tmp_path / "a.csv").write_bytes(text.encode("latin-1"))
        with pytest.raises(Fault, match=said):
            opened(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("file_name,e0,e1\n1000,1,2\n,1,2")
    with pytest.raises(Fault, match="row 1 has nothing in 'file_name'"):
        opened(tmp_path / "b.csv")


def test_what_is_called_like_a_key_and_is_none_is_not_passed_over(tmp_path: Path) -> None:
    for number, (column, cells, said) in enumerate(
        (
            ("file_name", pa.array([b"a", b"b"]), "'file_name' holds binary; file names are UTF-8"),
            ("index", pa.array([0.0, 1.0]), "'index' holds double; an index is whole numbers"),
        )
    ):
        path = saved(tmp_path / f"{number}.parquet", **{column: cells, "e": [[1.0], [2.0]]})
        with pytest.raises(Fault, match=said):
            opened(path)
    path = saved(tmp_path / "a.parquet", file_name=[7, 8], e=[[1.0], [2.0]])
    assert opened(path).keys == ("7", "8")
    path = saved(tmp_path / "b.parquet", image=pa.array([b"a", b"b"]), index=[1, 0], e=[[1.0]] * 2)
    assert isinstance(opened(path).keys, torch.Tensor)
    path = saved(tmp_path / "c.parquet", image=[[1.0], [2.0]])
    assert opened(path).keys is None  # it is the embedding


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4611686018427), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807999, 3), }",
    ],
    ids=["cut", "huge", "beyond int64"],
)
def test_a_damaged_header_is_refused_in_a_line(header: str, tmp_path: Path) -> None:
    text = header.encode() + b"\n"
    start = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little")
    (tmp_path / "a.npy").write_bytes(start + text)
    with pytest.raises(Fault, match="no array of numbers"):
        opened(tmp_path / "a.npy")


def test_tensors_of_other_numbers_and_nested_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"x": torch.ones(2, 2).to(torch.float8_e4m3fn)}, path)
    with pytest.raises(Fault, match=r"x holds torch\.float8_e4m3fn; wanted floats"):
        opened(path)
    save_file({"x": torch.ones(2, 2)}, path, {"names": "[" * 100_000})
    with pytest.raises(Fault, match="is no JSON list of file names"):
        opened(path)
    save_file({"x": torch.ones(2, 2).to(torch.uint16)}, path)
    assert opened(path).values["embedding"].dtype is torch.float32
    with pytest.raises(Fault, match="has no NUL"):
        opened(tmp_path / "a\0.npy")
