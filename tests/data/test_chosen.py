"""Which images stand for a set."""

import torch

from relatum.data.chosen import drawn, evenly, of_each_class


def test_evenly_spread() -> None:
    assert evenly(7, 10).tolist() == list(range(7))
    assert evenly(100, 5).tolist() == [0, 20, 40, 60, 80]
    assert evenly(5, 0).tolist() == []


def test_drawn_by_purpose_and_not_in_turns() -> None:
    found = drawn(1000, 100, "one").tolist()
    assert found == sorted(set(found)) == drawn(1000, 100, "one").tolist()
    assert found != drawn(1000, 100, "other").tolist()
    assert {place % 10 for place in found} == set(range(10))  # evenly spread all would be 0
    assert drawn(5, 100, "one").tolist() == list(range(5))


def test_as_many_of_each_class() -> None:
    labels = torch.tensor([2, 0, 2, 2, 0, 7, 7])
    assert of_each_class(labels, 7, 6, 9).tolist() == [1, 4, 0, 2, 5, 6]
    assert of_each_class(labels, 7, 6, 2).tolist() == [1, 4, 0, 2, 3]
    assert of_each_class(labels, 7, 2, 9).tolist() == [1, 0, 5]  # one of each at least
    assert of_each_class(None, 7, 3, 2).tolist() == [0, 1, 2]
