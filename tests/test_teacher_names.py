"""How teachers are written: alone, as a table, several with weights."""

from pathlib import Path

import pytest

from relatum.recipes.recipe import Recipe
from relatum.teacher_names import (
    TableName,
    TeacherName,
    several,
    table_of,
    tables_alone,
    teachers_there,
)
from relatum.types import Fault


def test_one_teacher_is_itself() -> None:
    for text in ("runs/a", "resnet8@weights.pth", "timm/vit:pretrained", "runs/lr=0.1"):
        assert teachers_there(text) == (TeacherName(text),)
        assert not several(text)
    assert not several(None)


def test_several_have_weights() -> None:
    found = teachers_there("runs/a, runs/b=2,resnet8@c.pth=0.5")
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
    assert teachers_there("a,b") == (TeacherName("a,b"),)
    assert not several("a,b")
    assert teachers_there("resnet8@a,b") == (TeacherName("resnet8@a,b"),)
    assert teachers_there("other,resnet8@other") == (
        TeacherName("other"),
        TeacherName("resnet8@other"),
    )
    simkd = "simkd(resnet8,resnet56)@other"
    assert teachers_there(f"{simkd},lr=0.1=2") == (TeacherName(simkd), TeacherName("lr=0.1", 2.0))
    assert teachers_there("lr=0.1,other=2") == (TeacherName("lr=0.1"), TeacherName("other", 2.0))
    assert len(teachers_there(",".join(f"run-{number}" for number in range(99)))) == 99


def test_a_table_names_its_columns() -> None:
    text = "table:d/e.parquet#embedding=vector,key=file"
    assert table_of(text) == TableName(
        Path("d/e.parquet"), (("embedding", "vector"), ("key", "file"))
    )
    assert table_of("runs/a") is None
    found = teachers_there(f"{text}=3,table:f.npy#logits=2,table:g.csv#embedding=2,runs/a")
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
        teachers_there(text)
    assert "\n" not in str(fault.value)
    if text.startswith("table:"):
        with pytest.raises(Fault, match=said):
            tables_alone(text)
    else:  # there may be a folder of that name
        assert not tables_alone(text)


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("table:e.npy", True),
        ("table:e.npy,table:f.csv#embedding=a,key=b=2", True),
        ("table:e.npy=2,runs/a=0", False),
        ("runs/a,table:e.npz", False),
    ],
)
def test_whether_tables_alone_teach_is_told_by_words(text: str, alone: bool) -> None:
    assert tables_alone(text) is alone


@pytest.mark.parametrize("text", ["table:e.npy,,runs/a", "table:e.npy=0,runs/a"])
def test_what_no_path_can_mean_is_refused_by_words(text: str) -> None:
    with pytest.raises(Fault, match=r"no name|over 0"):
        tables_alone(text)


def test_a_recipe_is_checked_by_its_words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(_: Path) -> bool:
        raise AssertionError("a recipe looks at the disk")

    for name in ("exists", "is_file", "is_dir", "stat"):
        monkeypatch.setattr(Path, name, look)
    recipe = Recipe(teacher="gone/a,table:gone.npy#logits=2", cache="gone", shard=())
    assert recipe.but(method="kd").teacher == "gone/a,table:gone.npy#logits=2"
    assert recipe.but(teacher="runs/lr=0,wd=0").teacher == "runs/lr=0,wd=0"  # a folder, maybe
    with pytest.raises(Fault, match="a weight is a number over 0, got 0"):
        recipe.but(teacher="table:a.npy,table:b.npy=0")


def test_a_home_that_nobody_has_is_refused() -> None:
    with pytest.raises(Fault, match="there is no home folder '~nosuchuser'"):
        table_of("table:~nosuchuser/x.npy")
