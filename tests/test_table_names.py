"""How the columns of a table are named: one way, for images and for teachers."""

import pytest

from relatum.table_names import file_and_columns
from relatum.types import Fault

SUFFIXES, ROLES = (".csv", ".npy"), ("embedding", "logits", "key")


@pytest.mark.parametrize(
    ("text", "file", "columns"),
    [
        ("d/e.csv", "d/e.csv", {}),
        (
            "d/e.csv#key=file name, embedding = e#1",
            "d/e.csv",
            {"key": "file name", "embedding": "e#1"},
        ),
        ("a#1.csv", "a#1.csv", {}),
        ("a#1.CSV#key=b.csv", "a#1.CSV", {"key": "b.csv"}),
        ("e.npy#logits", "e.npy", {"logits": ""}),
        ("e.txt#key=a", "e.txt", {"key": "a"}),
    ],
)
def test_columns_stand_behind_the_file(text: str, file: str, columns: dict[str, str]) -> None:
    assert file_and_columns(text, SUFFIXES, ROLES, bare=("logits",)) == (file, columns)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("e.csv#kay=a", r"the nearest is 'key'; behind '#' .* embedding=…, logits=…, key=…"),
        ("e.csv#", "there is no role of a column ''"),
        ("e.csv#key=a,key=b", "the column of 'key' is named twice"),
        ("e.csv#key", "no column is named for 'key'; write key=COLUMN"),
        ("e.csv#logits=", "no column is named for 'logits'"),
    ],
)
def test_what_is_misspelt_is_refused(text: str, said: str) -> None:
    with pytest.raises(Fault, match=said):
        file_and_columns(text, SUFFIXES, ROLES, bare=("logits",))
