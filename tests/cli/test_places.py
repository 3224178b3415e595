"""Folders that nobody named have plain names, one for each job, and older ones are found again."""

from pathlib import Path

import pytest

from relatum.cli import places
from relatum.recipes.recipe import Recipe

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
    new = places.usual(name, name, name, "tune-")
    assert new.name != f"tune-{name}"
    (here / "runs" / f"tune-{name}").mkdir(parents=True)
    assert places.usual(name, name, name, "tune-").name == f"tune-{name}"


def keep(folder: Path, data: str) -> Path:
    """A run on a set."""
    (folder / "sp" / "seed-0").mkdir(parents=True)
    recipe = Recipe(dataset=data).model_dump_json()
    (folder / "sp" / "seed-0" / "recipe.json").write_text(recipe)
    return folder


@pytest.mark.parametrize("begin", ["", "bench-", "tune-"])
@pytest.mark.parametrize("sets", [("a/photos", "b/photos"), ("hf:x/photos", "hf:z/photos")])
def test_sets_of_one_name_have_folders_of_their_own(
    here: Path, sets: tuple[str, str], begin: str
) -> None:
    one, other = sets
    first = keep(places.of_set(one, begin), one)
    assert first == Path(f"runs/{begin}photos")
    second = keep(places.of_set(other, begin), other)
    assert second.name.startswith(f"{begin}photos-")
    assert (places.of_set(one, begin), places.of_set(other, begin)) == (first, second)
    (first / "sp" / "seed-0" / "recipe.json").unlink()
    assert places.of_set(other, begin) == second  # it does not move when the name is free


@pytest.mark.parametrize("taken", [False, True])
def test_one_set_has_one_folder_however_it_is_spelt(here: Path, taken: bool) -> None:
    (here / "a" / "photos").mkdir(parents=True)
    if taken:
        keep(Path("runs/photos"), "b/photos")
    first = keep(places.of_set("a/photos"), "a/photos")
    assert (first == Path("runs/photos")) is not taken
    for text in ("a/photos/", "./a/photos", str(here / "a" / "photos"), "folder:a/photos"):
        assert places.of_set(text) == first, text


def test_what_cannot_be_read_keeps_nobody_away(here: Path) -> None:
    first = keep(places.of_set("a/photos"), "a/photos")
    (first / "sp" / "seed-0" / "recipe.json").write_text("[]")
    assert places.of_set("b/photos") == first


def test_a_recipe_of_one_method_on_another_set(here: Path) -> None:
    first = keep(places.usual("sp", "sp", "digits", end="-again"), "digits")
    assert first == Path("runs/sp-again")
    second = places.usual("sp", "sp", "mnist", end="-again")
    assert second.name.startswith("sp-")
    assert second.name.endswith("-again")
    assert second not in (first, places.usual("sp", "sp", "cifar100", end="-again"))
