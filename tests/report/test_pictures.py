import base64
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from relatum.record import Record
from relatum.report.canvas import Picture
from relatum.report.pictures import differences, size_and_quality
from relatum.report.table import summarise

Make = Callable[..., Record]
MINUS = "\N{MINUS SIGN}"


def svg(picture: Picture | None) -> ElementTree.Element:
    assert picture is not None
    kind, content = picture.source.split(",", 1)
    assert kind == "data:image/svg+xml;base64"
    return ElementTree.fromstring(base64.b64decode(content))


def test_the_picture_is_told_in_words(make: Make) -> None:
    records = [make(label, seed, 95.0 + seed) for label in ("none", "sp") for seed in range(2)]
    picture = size_and_quality(summarise(records))
    assert svg(picture).tag.endswith("svg")
    assert picture is not None
    assert "teacher 98.90 with 155,000 parameters" in picture.alt
    assert "sp 95.50 ± 0.71 with 12,345 parameters" in picture.alt
    assert "Bars" in picture.caption


def test_one_seed_has_no_bars(make: Make) -> None:
    picture = size_and_quality(summarise([make("none"), make("sp")]))
    assert picture is not None
    assert "Bars" not in picture.caption


def test_nothing_measured_is_no_picture(make: Make) -> None:
    summary = summarise([make("sp", top1=None, teacher=None)])
    assert size_and_quality(summary) is None
    assert differences(summary) is None


def test_one_network_is_no_picture(make: Make) -> None:
    """As without labels, where the teacher has nothing that its student is measured by."""
    summary = summarise([make("sp", top1=None, metrics={"neighbours": 30.0})])
    assert len(summary.lines) == 2
    assert size_and_quality(summary) is None


def test_differences_are_told_in_words(make: Make) -> None:
    records = [make("none", seed, 95.0 + seed) for seed in range(3)]
    records += [make("sp", seed, top1) for seed, top1 in enumerate((97.0, 97.0, 97.0))]
    picture = differences(summarise(records))
    svg(picture)
    assert picture is not None
    assert f"sp +1.00, from {MINUS}1.48 to 3.48" in picture.alt


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "label", [r"$\frac{$", "a_b^c$d$", "\x01\n", "-->", "\N{CJK UNIFIED IDEOGRAPH-732B}"]
)
def test_any_label_can_be_drawn(make: Make, label: str) -> None:
    records = [make("none", top1=95.0), make(label, top1=95.0)]
    summary = summarise(records)
    svg(size_and_quality(summary))
    svg(differences(summary))


def test_the_same_runs_give_the_same_picture(make: Make) -> None:
    summary = summarise([make("none"), make("sp")])
    assert size_and_quality(summary) == size_and_quality(summary)


def test_a_point_without_a_bar_says_why(make: Make) -> None:
    records = [make(label, seed, 95.0 + seed) for label in ("none", "sp") for seed in range(2)]
    still = differences(summarise(records))
    few = differences(summarise([*records, make("kd")]))
    assert still is not None
    assert still.caption.endswith("Points without a bar have seeds over which it does not vary.")
    assert few is not None
    assert "have too few seeds for an interval, or seeds over" in few.caption
