import pytest
import torch
from torch import Tensor

from relatum.data import Resident, cut
from relatum.types import Fault


def resident(samples: int = 20, classes: int | None = 4) -> Resident:
    """Image ``i`` is filled with the byte ``i``, so a sample is known by its pixels."""
    images = torch.arange(samples).byte().view(-1, 1, 1, 1).repeat(1, 3, 2, 5)
    return Resident(images, None if classes is None else torch.arange(samples) % classes)


def names(data: Resident) -> list[int]:
    return data.images[:, 0, 0, 0].tolist()


def test_length_shape_and_device() -> None:
    data = resident()
    assert len(data) == 20
    assert data.shape == (3, 2, 5)
    moved = data.to("meta")
    assert moved.images.is_meta
    assert moved.labels is not None
    assert moved.labels.is_meta


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (torch.zeros(2, 1, 3, 3), None, "float32 of shape"),
        (torch.zeros(2, 3, 3, dtype=torch.uint8), None, "uint8 of shape (2, 3, 3)"),
        (torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.zeros(2), "call .long()"),
        (torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.zeros(2, 4).long(), ".argmax(1)"),
        (torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.zeros(3).long(), "2 images have 3"),
        (
            torch.zeros(2, 1, 3, 3, dtype=torch.uint8),
            torch.zeros(2, dtype=torch.long, device="meta"),
            "labels on meta",
        ),
    ],
)
def test_what_does_not_fit_is_refused(images: Tensor, labels: Tensor | None, says: str) -> None:
    with pytest.raises(Fault) as caught:
        Resident(images, labels)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_floats_are_bytes_by_255_to_the_bit() -> None:
    images = torch.arange(256).byte().view(256, 1, 1, 1)
    wanted = images.to(torch.float32).div(255)
    data = Resident(images)
    assert torch.equal(data.float(slice(0, 256)), wanted)
    order = torch.randperm(256)
    assert torch.equal(data.float(order), wanted[order])
    assert data.float(order).dtype == torch.float32


def test_take_keeps_the_order_asked_for() -> None:
    taken = resident().take(torch.tensor([7, 3, 3]))
    assert names(taken) == [7, 3, 3]
    assert taken.labels is not None
    assert taken.labels.tolist() == [3, 3, 3]


@pytest.mark.parametrize("classes", [None, 1, 3, 7])
@pytest.mark.parametrize("share", [0.1, 1 / 3, 0.5, 0.9])
def test_cut_parts_without_overlap_and_exactly(classes: int | None, share: float) -> None:
    data = resident(53, classes)
    rest, part = cut(data, share, seed=1)
    assert len(part) == round(share * 53)
    assert sorted(names(rest) + names(part)) == list(range(53))
    assert names(part) == sorted(names(part))
    assert names(rest) == sorted(names(rest))
    for each in (rest, part):
        if each.labels is not None and classes is not None:
            assert each.labels.tolist() == [name % classes for name in names(each)]


def test_cut_is_a_function_of_its_seed() -> None:
    data = resident(50)
    assert names(cut(data, 0.2, 3)[1]) == names(cut(data, 0.2, 3)[1])
    assert len({tuple(names(cut(data, 0.2, seed)[1])) for seed in range(5)}) == 5


def test_cut_keeps_the_proportions_of_classes() -> None:
    sizes = [50, 30, 15, 5, 3]
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    data = Resident(torch.zeros(103, 1, 2, 2, dtype=torch.uint8), labels[torch.randperm(103)])
    for share in (0.1, 0.25, 0.47):
        _, part = cut(data, share, seed=0)
        assert part.labels is not None
        for taken, size in zip(part.labels.bincount(minlength=5).tolist(), sizes, strict=True):
            assert abs(taken - share * size) < 1


def test_cut_of_balanced_classes_is_balanced() -> None:
    """0.29 × 100 is 28.999… in floats: rounding must not move a sample."""
    data = Resident(torch.zeros(300, 1, 1, 1, dtype=torch.uint8), torch.arange(300) % 3)
    _, part = cut(data, 0.29, seed=0)
    assert part.labels is not None
    assert part.labels.bincount().tolist() == [29, 29, 29]


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan"), 0.001, 0.999])
def test_cut_refuses_empty_parts(share: float) -> None:
    with pytest.raises(Fault):
        cut(resident(), share, seed=0)


def test_names_and_places_go_along() -> None:
    """What is cut and taken, again and again, is known by its file and its place in the whole."""
    names = tuple(f"{each}.jpg" for each in range(20))
    whole = Resident(torch.zeros(20, 1, 4, 4, dtype=torch.uint8), names=names)
    rest, part = cut(whole, 0.25, 0)
    some = rest.take(torch.tensor([3, 0])).to("cpu")
    for each in (rest, part, some):
        assert each.places is not None
        assert each.names == tuple(names[place] for place in each.places.tolist())
    assert rest.names is not None
    assert some.names == (rest.names[3], rest.names[0])
    with pytest.raises(Fault, match="2 images have 1 names; give each one"):
        Resident(whole.images[:2], names=("a",))
