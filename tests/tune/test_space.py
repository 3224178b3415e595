"""What is searched is read from a text, and put into a recipe where it belongs."""

import pytest

from relatum.recipes.recipe import Recipe
from relatum.tune.space import Dimension, applied, dimension, dimensions
from relatum.types import Fault

RECIPE = Recipe(method="sp+kd", validation=0.1)


def test_ranges_and_choices() -> None:
    assert dimension("learning_rate=log(0.005,0.5)", RECIPE) == Dimension(
        "learning_rate", 0.005, 0.5, log=True
    )
    assert dimension("kd.temperature=1..8", RECIPE) == Dimension("kd.temperature", 1.0, 8.0)
    assert dimension("sp.weight = log(1, 1e4)", RECIPE) == Dimension("sp.weight", 1, 1e4, log=True)
    assert dimension("batch_size=32..64", RECIPE) == Dimension("batch_size", 32, 64, whole=True)
    assert dimension("batch_size=32|64", RECIPE).choices == (32, 64)
    assert dimension("sp.batch_invariant=true|false", RECIPE).choices == (True, False)
    queue = Recipe(method="rrd")
    assert dimension("rrd.queue_size=log(16,64)", queue).whole
    assert dimension("rrd.enqueue=before|after", queue).choices == ("before", "after")


def test_they_are_put_in_their_place() -> None:
    values = {"sp.weight": 12.5, "kd.temperature": 2.0, "learning_rate": 0.1, "task.weight": 0.3}
    found = applied(RECIPE, values)
    assert found.method == "sp=12.5+kd(temperature=2.0)+ce=0.3"
    assert found.learning_rate == 0.1
    assert found.but(method="sp+kd", learning_rate=RECIPE.learning_rate) == RECIPE
    assert applied(RECIPE, {}) == RECIPE
    two = RECIPE.but(method="sp@maps+sp@embedding=2")
    assert applied(two, {"sp@embedding.weight": 1.0}).method == "sp@maps+sp@embedding=1.0"


def test_what_is_tried_can_be_written_down() -> None:
    rate = dimension("learning_rate=log(0.005,0.5)", RECIPE)
    assert rate.rounded(0.0123456) == 0.01235
    assert rate.rounded(0.4999999) == 0.5
    assert dimension("learning_rate=0.0100049..0.5", RECIPE).rounded(0.0100049) == 0.0100049


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rate", "wants NAME="),
        ("learning_rat=1..2", "nearest is 'learning_rate'"),
        ("learning_rate=1", "a range is"),
        ("learning_rate=2..1", "from a lower number up"),
        ("learning_rate=log(0,1)", "begins over 0"),
        ("learning_rate=a..b", "no number"),
        ("momentum=0.5..2", "momentum"),
        ("batch_size=1.5..4", "whole number"),
        ("batch_size=32|32", "there twice"),
        ("epochs=0|1", "needs one epoch at least"),
        ("epochs=0..4", "needs one epoch at least"),
        ("method=sp|kd", "says what is compared"),
        ("seed=1..4", "says what is compared"),
        ("rkd.weight=1..2", "it has sp, kd, ce"),
        ("kd.temprature=1..2", "the nearest is 'temperature'"),
        ("kd.temperature=1|hot", "a number, got 'hot'"),
        ("sp.weight=-2..2", "a number from 0 on"),
    ],
)
def test_what_cannot_be_searched(text: str, said: str) -> None:
    with pytest.raises(Fault, match=said):
        dimension(text, RECIPE)


def test_nothing_and_twice() -> None:
    with pytest.raises(Fault, match="nothing is searched"):
        dimensions([], RECIPE)
    with pytest.raises(Fault, match="learning_rate twice"):
        dimensions(["learning_rate=1..2", "learning_rate=1..3"], RECIPE)
    with pytest.raises(Fault, match="name its tap too"):
        dimension("sp.weight=1..2", RECIPE.but(method="sp@maps+sp@embedding"))
    with pytest.raises(Fault, match="balance finds the weights"):
        dimension("sp.weight=1..2", RECIPE.but(balance="equal"))
