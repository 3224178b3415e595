import base64
from collections.abc import Callable

import pytest

from relatum.recipes.benchmark import Pair
from relatum.record import Record
from relatum.report.standings import standings
from relatum.report.standings_picture import comparable, dots

Runs = Callable[..., list[Record]]
VALUES = {
    "none": (69.0, 69.2, 68.8),
    "sp": (69.1, 69.3, 69.0),
    "kd": (70.6, 70.8, 70.4),
    "ft": (66.0, 66.2, 65.8),
}


def test_what_it_says(runs_of: Runs) -> None:
    found = standings(runs_of("resnet56", "resnet20", VALUES))
    drawn = dots(found, found.pairs[0])
    assert drawn is not None
    assert drawn.alt.startswith("resnet56 → resnet20, kd 70.60, rank 1, 1.")
    assert "above the student alone" in drawn.alt
    assert drawn.alt.index("kd ") < drawn.alt.index("sp ") < drawn.alt.index("ft ")
    for piece in ("Bars: 95 % interval", "Bands: methods of one rank", "Squares: published"):
        assert piece in drawn.caption


def test_ranks_are_to_be_seen(runs_of: Runs) -> None:
    """What shares a rank stands in one band, named once."""
    found = standings(runs_of("resnet56", "resnet20", VALUES))
    drawn = dots(found, found.pairs[0])
    assert drawn is not None
    text = base64.b64decode(drawn.source.partition(",")[2]).decode()
    ranks = {each.rank for each in found.pairs[0].methods}
    assert ranks == {1, 2, 4}
    for rank in ranks:
        assert text.count(f"<!-- rank {rank} -->") == 1


def test_published_numbers_of_other_terms_are_left_out(runs_of: Runs) -> None:
    short = standings(runs_of("resnet56", "resnet20", VALUES, scale=0.05))
    drawn = dots(short, short.pairs[0])
    assert drawn is not None
    assert not comparable(short)
    assert "published" not in drawn.caption


def test_one_seed_has_no_bar_and_no_rank(runs_of: Runs) -> None:
    found = standings(runs_of("resnet56", "resnet20", {"none": (69.0,), "kd": (70.0,)}))
    drawn = dots(found, found.pairs[0])
    assert drawn is not None
    assert "rank" not in drawn.alt
    assert "Bars" not in drawn.caption


def test_nothing_is_drawn_of_nothing(runs_of: Runs) -> None:
    found = standings(runs_of("resnet56", "resnet20", VALUES), pairs=[Pair("vgg13", "vgg8")])
    empty = next(pair for pair in found.pairs if pair.summary is None)
    assert dots(found, empty) is None


@pytest.mark.parametrize("count", [1, 40])
def test_any_number_of_methods(runs_of: Runs, count: int) -> None:
    values = {f"method {each}": (70.0 + each / 10, 70.2 + each / 10) for each in range(count)}
    found = standings(runs_of("resnet56", "resnet20", values))
    drawn = dots(found, found.pairs[0])
    assert drawn is not None
    assert drawn.height > 25 * count
