"""Every image gets its own row: by name, by index, or nothing is trained."""

from pathlib import Path

import numpy as np
import pytest
import torch

from relatum.data import cut
from relatum.tables import Table, match, of_part, refuse_missing
from relatum.types import Fault
from tests.tables.made import dataset, held_back, images, named, opened, saved


def keyed(keys: tuple[str, ...] | torch.Tensor | None, rows: int | None = None) -> Table:
    count = rows or len(keys or ())
    return Table(Path("e.parquet"), {"embedding": torch.arange(count)[:, None].float()}, keys, "")


SET = named(("train/a/1.jpg", "train/a/2.jpg", "train/b/3.jpg"), ("test/a/4.jpg",))


@pytest.mark.parametrize(
    ("keys", "how"),
    [
        (("train/b/3.jpg", "train/a/1.jpg", "test/a/4.jpg", "train/a/2.jpg"), None),
        (("./train/b/3.jpg", "/x/y/train/a/1.jpg", "s/test/a/4.jpg", "train\\a\\2.jpg"), None),
        (("b/3.jpg", "a/1.jpg", "a/4.jpg", "a/2.jpg"), "their paths below train/ and test/"),
        (("3.jpg", "other/1.jpg", "4.jpg", "2.jpg"), "file names alone"),
        (("3.npy", "1.npy", "4.npy", "2.npy"), "file names without their endings"),
        (("3", "1", "4", "2"), "file names without their endings"),
    ],
)
def test_names_are_compared_as_far_as_they_tell_images_apart(
    keys: tuple[str, ...], how: str | None
) -> None:
    found = match(keyed(keys), SET)
    assert found.train.tolist() == [1, 3, 0]
    assert found.test.tolist() == [2]
    assert found.notes == (() if how is None else (f"rows of e.parquet are found by {how}",))


def test_names_that_do_not_tell_apart_are_not_compared() -> None:
    alike = named(("train/a/1.jpg", "train/b/1.jpg"), ("test/a/1.jpg",))
    with pytest.raises(Fault, match=r"of other images: it has rows for '1.jpg' .*'train/a/1.jpg'"):
        match(keyed(("1.jpg", "2.jpg")), alike)
    found = match(keyed(("train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg", "c/1.jpg")), alike)
    assert found.train.tolist() == [0, 1]
    assert found.notes == ("1 row matches no image, of the 4 in e.parquet",)


def test_a_key_is_of_the_longest_name_alone() -> None:
    nested = named(("a/0.jpg", "b/a/0.jpg"), ("c/1.jpg",))
    found = match(keyed(("b/a/0.jpg", "a/0.jpg", "x/c/1.jpg")), nested)
    assert found.train.tolist() == [1, 0]
    assert found.test.tolist() == [2]
    assert match(keyed(("b/a/0.jpg",)), nested).train.tolist() == [-1, 0]


def test_a_key_that_is_there_twice_must_say_the_same() -> None:
    keys = ("train/a/1.jpg", "x/train/a/1.jpg")
    with pytest.raises(Fault, match=r"'train/a/1.jpg' is there twice, in rows 0 and 1"):
        match(keyed(keys), SET)
    same = Table(Path("e.npy"), {"embedding": torch.ones(2, 3)}, keys, "")
    assert match(same, SET).train.tolist() == [0, -1, -1]
    numbers = torch.tensor([0, 1, 2, 3, 1])
    with pytest.raises(Fault, match="1 is there twice, in rows 1 and 4, with another embedding"):
        match(keyed(numbers, 5), dataset(images(3), images(1)))


def test_missing_rows_are_counted_and_the_first_named() -> None:
    table = keyed(("train/a/1.jpg",))
    rows = match(table, SET).train
    said = r"no row for 2 of 3 training images: train/a/2.jpg, train/b/3.jpg; add them"
    with pytest.raises(Fault, match=said):
        refuse_missing(table, rows, SET.train, "training")
    many = torch.full((5,), -1)
    with pytest.raises(
        Fault, match="no row for 5 of 5 training images: image 0, image 1, image 2, …;"
    ):
        refuse_missing(table, many, images(5), "training")
    refuse_missing(table, torch.arange(5), images(5), "training")


def test_names_for_a_set_that_has_none_are_refused_unless_they_are_numbers() -> None:
    bare = dataset(images(2), images(1))
    with pytest.raises(
        Fault, match=r"keyed by names such as 'a.jpg', and the images of some have none"
    ):
        match(keyed(("a.jpg", "b.jpg", "c.jpg")), bare)
    assert match(keyed(("2", "0", "1")), bare).train.tolist() == [1, 2]


def test_rows_in_the_order_of_a_whole_that_was_parted() -> None:
    """Of 10 images 2 are held back: a table has 10 rows in the order of the whole, or the 8."""
    source = held_back()
    assert source.train.places is not None
    assert source.test.places is not None
    whole = match(keyed(None, 10), source)
    assert torch.equal(whole.train, source.train.places)
    assert torch.equal(whole.test, source.test.places)
    part = match(keyed(None, 8), source)
    assert torch.equal(part.train, torch.arange(8))
    assert part.test.tolist() == [-1, -1]
    for count in (7, 9, 11):
        with pytest.raises(Fault, match=rf"has {count} rows.*8 training images and 2 test images"):
            match(keyed(None, count), source)
    with pytest.raises(Fault, match="whose indices end at 6"):  # of the whole, or of the part?
        match(keyed(torch.arange(7), 7), source)
    assert torch.equal(match(keyed(torch.arange(10).flip(0), 10), source).train, 9 - whole.train)


def test_rows_of_a_set_with_a_test_part_of_its_own() -> None:
    source = dataset(images(3), images(2))
    assert match(keyed(None, 5), source).test.tolist() == [3, 4]
    assert match(keyed(None, 3), source).test.tolist() == [-1, -1]
    some = match(keyed(torch.tensor([4, 0]), 2), source)  # no index means two things here
    assert some.train.tolist() == [1, -1, -1]
    assert some.test.tolist() == [-1, 0]
    with pytest.raises(Fault, match="whose indices end at 5"):
        match(keyed(torch.tensor([5]), 1), source)


@pytest.mark.parametrize("own", [True, False])
def test_what_is_cut_and_drawn_keeps_its_rows(own: bool) -> None:
    source = dataset(images(20), images(5)) if own else held_back(25)
    matched = match(keyed(None, 25), source)
    train, validation = cut(source.train, 0.25, 3)
    drawn = train.take(torch.tensor([4, 1, 7]))
    inside = source.train.places if source.train.places is not None else torch.arange(20)
    for part in (train, validation, drawn):
        rows = of_part(matched, source, part)
        assert part.places is not None
        assert torch.equal(rows, part.places)
        assert set(rows.tolist()) <= set(inside.tolist())
    assert torch.equal(of_part(matched, source, source.train), matched.train)


def test_a_table_in_another_order_gives_the_same_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows, order = rng.normal(size=(4, 3)).astype(np.float32), rng.permutation(4)
    names = ["train/a/1.jpg", "train/a/2.jpg", "train/b/3.jpg", "test/a/4.jpg"]
    path = saved(
        tmp_path / "e.parquet", e=rows[order].tolist(), file=[names[each] for each in order]
    )
    table = opened(path)
    found = match(table, SET)
    assert torch.equal(table.values["embedding"][found.train], torch.from_numpy(rows[:3]))
    assert torch.equal(table.values["embedding"][found.test], torch.from_numpy(rows[3:]))
