"""How teachers are written: alone, as a table, several with weights."""

from pathlib import Path

import pytest

from relatum.teacher_names import TableName, TeacherName, several, table_of, teachers_of
from relatum.types import Fault


def test_one_teacher_is_itself() -> None:
    for text in ("runs/a", "resnet8@weights.pth", "timm/vit:pretrained", "runs/lr=0.1"):
        assert teachers_of(text) == (TeacherName(text),)
        assert not several(text)
    assert not several(None)


def test_several_have_weights() -> None:
    found = teachers_of("runs/a, runs/b=2,resnet8@c.pth=0.5")
    assert found == (
        TeacherName("runs/a"),
        TeacherName("runs/b", 2.0),
        TeacherName("resnet8@c.pth", 0.5),
    )
    assert ",".join(map(str, found)) == "runs/a,runs/b=2.0,resnet8@c.pth=0.5"
    assert several("runs/a,runs/b")


def test_what_is_there_is_one_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a,b", "lr=0.1", "other"):
        Path(name).mkdir()
    assert teachers_of("a,b") == (TeacherName("a,b"),)
    assert teachers_of("resnet8@a,b") == (TeacherName("resnet8@a,b"),)
    assert teachers_of("other,resnet8@other") == (
        TeacherName("other"),
        TeacherName("resnet8@other"),
    )
    simkd = "simkd(resnet8,resnet56)@other"
    assert teachers_of(f"{simkd},lr=0.1=2") == (TeacherName(simkd), TeacherName("lr=0.1", 2.0))
    assert teachers_of("lr=0.1,other=2") == (TeacherName("lr=0.1"), TeacherName("other", 2.0))


def test_a_table_names_its_columns() -> None:
    text = "table:d/e.parquet#embedding=vector,key=file"
    assert table_of(text) == TableName(
        Path("d/e.parquet"), (("embedding", "vector"), ("key", "file"))
    )
    assert table_of("runs/a") is None
    found = teachers_of(f"{text}=3,table:f.npy#logits=2,table:g.csv#embedding=2,runs/a")
    assert found == (
        TeacherName(text, 3.0),
        TeacherName("table:f.npy#logits=2"),
        TeacherName("table:g.csv#embedding=2"),
        TeacherName("runs/a"),
    )
    assert found[0].table == table_of(text)
    assert several("table:e.npy")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("runs/a,,runs/b", "one of them has no name"),
        ("runs/a,runs/a=2", "'runs/a' is there twice; weigh it instead"),
        ("runs/a,runs/b=0", "a weight is a number over 0, got 0"),
        ("runs/a,runs/b=1e999", "a weight is a number over 0"),
        ("runs/a,runs/b=1-2", "'1-2' is no weight"),
        ("table:", "names no file"),
        ("table:e.npz", r"is one of \.npy, .* got '\.npz'; save one array of it as \.npy"),
        ("table:e.pkl", r"got '\.pkl'"),
        ("table:e.npy#logit", "there is no role of a column 'logit'; the nearest is 'logits'"),
        ("table:e.csv#key=a,key=b", "the column of 'key' is named twice"),
    ],
)
def test_what_is_misspelt_is_refused(text: str, said: str) -> None:
    with pytest.raises(Fault, match=said) as fault:
        teachers_of(text)
    assert "\n" not in str(fault.value)


def test_a_home_that_nobody_has_is_refused() -> None:
    with pytest.raises(Fault, match="there is no home folder '~nosuchuser'"):
        table_of("table:~nosuchuser/x.npy")
