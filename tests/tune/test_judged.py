"""What so many validation images can tell apart is said before a search, and after it."""

import pytest

from relatum.tune.judged import Judged

pytest.importorskip("optuna")


def test_few_images_are_told_of() -> None:
    cut, few = Judged(14, 138, "top1").notes(own=False)
    assert cut == "14 of 138 training images are cut off to choose by"
    assert "cannot tell settings apart" in few
    assert "up to 13.4 points" in few  # sqrt(50 * 50 / 14)
    assert "validation=0.4" in few
    assert next(Judged(8, 80, "top1").notes(own=True)).endswith("; only more images help")
    assert not list(Judged(50, 500, "top1").notes(own=True))
    (few,) = Judged(14, 138, "gap_cosine").notes(own=True)
    assert "points" not in few


def test_how_many_trials_lie_near_the_best() -> None:
    said = Judged(25, 250, "top1").spread([80.0, 70.0, 65.0, 60.0, 30.0])
    # one right and one wrong more make 21 of 27, and sqrt(21 * 6 / 25) / 27 = 0.083; 70 and 65 lie
    # within 16.6 of 80
    assert said == (
        "on 25 images the standard error of 80 % is 8.3 points; 2 of the other 4 trials lie within"
        " two of it"
    )


@pytest.mark.parametrize("reached", [[100.0, 96.0, 92.0], [0.0, 4.0, 8.0]])
def test_all_that_are_right_have_an_error_too(reached: list[float]) -> None:
    said = Judged(25, 250, "top1").spread(reached)  # 26 of 27: sqrt(26 / 25) / 27 = 0.038
    assert "is 3.8 points; 1 of the other 2 trials lie within" in said


def test_all_or_the_only_other_trial() -> None:
    judged = Judged(25, 250, "top1")
    assert "all other 2 trials lie within" in judged.spread([80.0, 79.0, 78.0])
    assert "the other trial does not lie within" in judged.spread([80.0, 10.0])


def test_the_direction_is_the_metric_s() -> None:
    assert Judged(9, 9, "top1").direction == "maximize"
    assert Judged(9, 9, "gap_cosine").direction == "minimize"
