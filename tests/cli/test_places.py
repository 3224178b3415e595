"""Folders that nobody named have plain names, one for each job, and older ones are found again."""

from pathlib import Path

import pytest

from relatum.cli import places

SETS = (
    "photos/",
    "hf:owner/name",
    "table:a.csv#image=path",
    "table:a.csv#image=file",
    "wds:shards-{000..012}.tar",
    "wds:shards-{000..013}.tar",
    "my photos (2024)",
    "…",
)


def test_names_are_plain_and_differ(here: Path) -> None:
    found = [places.of_set(each) for each in SETS]
    assert len(set(found)) == len(SETS)
    assert [str(each) for each in found[:2]] == ["runs/photos", "runs/name"]
    for each in found:
        assert not set(each.name) & set("#{}() $&*?[]\\'\"|;<>~,…"), each
        assert each.parent == Path("runs")


def test_the_current_folder_has_a_name(here: Path) -> None:
    assert places.of_set(".") == Path("runs") / here.name


@pytest.mark.parametrize("name", ["table-a.csv#image=path", "shards {a}"])
def test_a_folder_of_an_earlier_version_is_gone_on_with(here: Path, name: str) -> None:
    new = places.usual(name, name, "tune-")
    assert new.name != f"tune-{name}"
    (here / "runs" / f"tune-{name}").mkdir(parents=True)
    assert places.usual(name, name, "tune-").name == f"tune-{name}"
