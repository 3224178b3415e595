"""What so many validation images can tell apart is said before a search, and after it."""

import pytest

from relatum.tune.judged import Judged

pytest.importorskip("optuna")


def test_few_images_are_told_of() -> None:
    cut, few = Judged(14, 138, "top1").notes(own=False)
    assert cut == "14 of 138 training images are cut off to choose by"
    assert "cannot tell settings apart" in few
    assert "up to 13.4 points" in few  # sqrt(50 * 50 / 14)
    assert not list(Judged(50, 500, "top1").notes(own=True))
    (few,) = Judged(14, 138, "gap_cosine").notes(own=True)
    assert "points" not in few


def test_how_many_trials_lie_near_the_best() -> None:
    said = Judged(25, 250, "top1").spread([80.0, 70.0, 65.0, 60.0, 30.0])
    # sqrt(80 * 20 / 25) = 8; 70 and 65 lie within 16 of 80
    assert said == (
        "on 25 images the standard error of 80 % is 8.0 points; 2 of the other 4 trials lie within"
        " two of it"
    )


def test_the_direction_is_the_metric_s() -> None:
    assert Judged(9, 9, "top1").direction == "maximize"
    assert Judged(9, 9, "gap_cosine").direction == "minimize"
