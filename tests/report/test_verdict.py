from collections.abc import Callable
from typing import Any

from relatum.record import Record
from relatum.report.table import Summary, summarise
from relatum.report.verdict import finding, verdict

Make = Callable[..., Record]


def summary_of(make: Make, **tops: tuple[float, ...]) -> Summary:
    return summarise(
        [
            make(label, seed, top1)
            for label, values in tops.items()
            for seed, top1 in enumerate(values)
        ]
    )


def test_a_clear_difference(make: Make) -> None:
    """Differences 0.8, 0.9, 1.0: 0.9 ± 4.302653 · 0.1 / √3, that is ± 0.248."""
    summary = summary_of(make, none=(95.0, 96.0, 97.0), sp=(95.8, 96.9, 98.0))
    assert verdict(summary) == (
        "sp: +0.9 points over the student alone (95 % interval 0.7 to 1.1, three seeds)."
    )


def test_a_clear_loss(make: Make) -> None:
    summary = summary_of(make, none=(95.8, 96.9, 98.0), sp=(95.0, 96.0, 97.0))
    less = "\N{MINUS SIGN}"
    assert f"sp: {less}0.9 points against the student alone" in verdict(summary)
    assert f"interval {less}1.1 to {less}0.7" in verdict(summary)


def test_no_difference_that_seeds_can_show(make: Make) -> None:
    summary = summary_of(make, none=(95.0, 96.0, 97.0), sp=(97.0, 97.0, 97.0))
    assert verdict(summary) == (
        "sp: no difference to the student alone that three seeds can show (+1.0 points, 95 %"
        " interval \N{MINUS SIGN}1.5 to 3.5)."
    )


def test_what_excludes_zero_does_not_print_zero(make: Make) -> None:
    summary = summary_of(make, none=(95.0, 96.0, 97.0), sp=(95.03, 96.04, 97.05))
    assert "+0.04 points" in verdict(summary)
    assert "interval 0.02 to 0.06" in verdict(summary)


def test_one_seed_is_no_evidence(make: Make) -> None:
    summary = summary_of(make, none=(95.0,), sp=(97.0,))
    assert verdict(summary) == (
        "sp: +2.0 points over the student alone in one seed, which is no evidence."
    )


def test_one_seed_against_three(make: Make) -> None:
    summary = summary_of(make, none=(95.0, 96.0, 97.0), sp=(97.0,))
    assert "in one and three seeds, which is no evidence" in verdict(summary)


def test_no_spread_gives_no_interval(make: Make) -> None:
    summary = summary_of(make, none=(95.0, 96.0), sp=(96.0, 97.0))
    assert "+1.0 points over the student alone in each of two seeds" in verdict(summary)
    assert "no interval" in verdict(summary)


def test_several_methods(make: Make) -> None:
    summary = summary_of(
        make,
        none=(95.0, 96.0, 97.0),
        kd=(95.8, 96.9, 98.0),
        rkd=(94.0, 95.1, 96.2),
        sp=(97.0, 97.0, 97.0),
    )
    assert verdict(summary) == (
        "Of three methods: one better than the student alone (kd); one worse than the student"
        " alone (rkd); one without a difference to the student alone that three seeds can show"
        " (sp)."
    )


def test_several_methods_of_one_seed(make: Make) -> None:
    summary = summary_of(make, none=(95.0,), kd=(96.0,), sp=(97.0,))
    assert "by seeds that cannot tell a difference from chance" in verdict(summary)


def test_less_is_better_for_a_gap(make: Make) -> None:
    gaps = {"none": (0.30, 0.31, 0.32), "sp": (0.20, 0.215, 0.22), "kd": (0.4, 0.42, 0.42)}
    summary = summarise(
        [
            make(label, seed, None, metrics={"gap_cosine": gap})
            for label, values in gaps.items()
            for seed, gap in enumerate(values)
        ]
    )
    assert "one better than the student alone (sp); one worse than" in verdict(summary)
    assert "\N{MINUS SIGN}0.10 in relation gap against" in finding(summary, summary.methods[0])


def test_without_the_student_alone(make: Make) -> None:
    assert verdict(summarise([make("sp", metrics={"kept": 98.08})])) == (
        "sp: top-1 97.00 %, 98.1 % of what the teacher reaches (one run, which says nothing of"
        " what other seeds give). There is no run of the student alone to compare it with."
    )
    two = summary_of(make, kd=(95.0, 96.0), sp=(96.0, 97.0))
    assert verdict(two) == "Two methods, and no run of the student alone to compare them with."


def test_only_the_student_alone(make: Make) -> None:
    summary = summary_of(make, none=(95.0, 96.0, 97.0))
    assert verdict(summary) == "student alone: top-1 96.00 % (mean of three seeds)."


def test_nothing_measured(make: Make) -> None:
    bare: dict[str, Any] = {"top1": None}
    assert verdict(summarise([make("sp", **bare)])) == "Nothing was measured on the test images."


def test_without_labels_there_can_be_no_student_alone(make: Make) -> None:
    bare: dict[str, Any] = {"top1": None, "metrics": {"neighbours": 40.0}, "classes": ()}
    one, two = make("sp", **bare), make("kd", **bare)
    assert "student alone" not in verdict(summarise([one]))
    both = summarise([one, two])
    assert verdict(both) == "Two methods, taught without labels."
    assert "student alone" not in finding(both, both.methods[0])
