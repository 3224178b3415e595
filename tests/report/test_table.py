import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from relatum.record import Record
from relatum.report.table import Summary, summarise
from relatum.types import Fault

Make = Callable[..., Record]


def three(make: Make, label: str, *values: float, **fields: Any) -> list[Record]:
    return [make(label, seed, value, **fields) for seed, value in enumerate(values)]


def test_markdown_by_hand(make: Make) -> None:
    records = three(make, "none", 95, 97, 96) + three(make, "sp", 97, 98, 99)
    assert summarise(records).markdown() == (
        "| method | parameters | top-1 % | Δ to alone | n |\n"
        "| :-- | --: | --: | --: | --: |\n"
        "| teacher | 155,000 | 98.90 | \N{EN DASH} | 1 |\n"
        "| student alone | 12,345 | 96.00 ± 1.00 | \N{EN DASH} | 3 |\n"
        "| sp | 12,345 | 98.00 ± 1.00 | +2.00 \\[\N{MINUS SIGN}0.48 to 4.48\\] | 3 |\n"
        "\n"
        "Last epoch; mean ± standard deviation over n = 3 seeds; nothing was chosen by the 360"
        " test images.  \n"
        "Δ to alone: mean difference \\[95 % interval, Student's t, paired by seed\\] of top-1. It"
        " speaks of other seeds, not of other images.  \n"
    )


def printed(summary: Summary, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(summary.rich())
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_rich_says_the_same(make: Make) -> None:
    records = three(make, "none", 95, 97, 96) + three(make, "sp[bold]", 97, 98, 99)
    text = printed(summarise(records), 120)
    assert "+2.00 [\N{MINUS SIGN}0.48 to 4.48]" in text
    assert "sp[bold]" in text
    assert "standard deviation over n = 3 seeds" in text


def test_a_terminal_of_80_characters_cuts_nothing(make: Make) -> None:
    every = {"knn": 90.0, "agreement": 91.0, "gap_cosine": 0.123, "cka": 0.9, "kept": 97.0}
    records = three(make, "none", 45, 67, 56, metrics=every)
    records += three(make, "sp", 77, 48, 79, metrics=every)
    text = printed(summarise(records), 80)
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    for heading in ("method", "top-1 %", "relation", "kept %", "0.123", "97.00"):
        assert heading in text


def test_a_scale_is_said_first(make: Make) -> None:
    changes = {"scale": 0.05}
    notes = summarise([make("none", changes=changes), make("sp", changes=changes)]).notes()
    assert notes[0].startswith("At scale 0.05, for a first look: not comparable")
    assert not any("scale" in note for note in summarise([make("none")]).notes())


def test_one_seed_has_no_spread_and_says_so(make: Make) -> None:
    text = summarise([make("none", top1=95.0), make("sp", top1=96.0)]).markdown()
    table, notes = text.split("\n\n")
    assert "±" not in table
    assert "+1.00 |" in table
    assert "One seed is no evidence" in notes
    assert "interval" not in notes


def test_neighbours_of_few_images_are_shared_by_chance(make: Make) -> None:
    metrics = {"neighbours": 65.0, "gap_cosine": 0.1}
    few, many = (
        summarise([make("sp", 0, None, metrics=metrics, samples={"train": 90, "test": images})])
        for images in (18, 360)
    )
    said = "Neighbours: of so few images 58.8 % are shared by chance."
    assert said in few.notes()
    assert said in few.notes(brief=True)  # they are what networks are compared by
    assert not any("chance" in note for note in many.notes())


def test_columns_that_no_student_fills_are_hidden(make: Make) -> None:
    records = [make("none", metrics={"knn": 90.0}), make("sp", metrics={"gap_cosine": 0.25})]
    headings = [column.heading for column in summarise(records).columns()]
    assert headings == [
        *["method", "parameters", "top-1 %", "Δ to alone", "kNN %", "relation gap ↓", "n"]
    ], "the teacher's probe alone makes no column"


def test_primary_is_the_first_that_all_have(make: Make) -> None:
    both = {"probe": 91.0, "knn": 90.0}
    mixed = [make("none", top1=95.0, metrics=both), make("sp", top1=None, metrics=both)]
    metric = summarise(mixed).primary
    assert metric is not None
    assert metric.name == "probe"
    partly = summarise([make("none", top1=95.0), make("sp", top1=None)]).primary
    assert partly is not None
    assert partly.name == "top1"
    assert summarise([make("sp", top1=None)]).primary is None


def test_a_metric_that_some_seeds_lack_says_of_how_many(make: Make) -> None:
    records = [make("sp", 0, metrics={"knn": 90.0}), make("sp", 1)]
    assert "90.00 (n = 1)" in summarise(records).markdown()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dataset": "mnist"}, "dataset is 'digits' for 'none' and 'mnist' for 'sp'"),
        ({"epochs": 5}, "epochs is 4 for 'none' and 5 for 'sp'"),
        ({"batch_size": 32}, "batch_size is 64 for 'none' and 32 for 'sp'"),
    ],
)
def test_settings_do_not_mix(make: Make, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(Fault, match=told):
        summarise([make("none"), make("sp", changes=changes)])


def test_test_images_do_not_mix(make: Make) -> None:
    with pytest.raises(Fault, match="test images is 360 for 'none' and 10 for 'sp'"):
        summarise([make("none"), make("sp", samples={"train": 9, "test": 10})])


def test_a_teacher_may_be_trained_in_any_way(make: Make) -> None:
    own = make("teacher", top1=99.0, changes={"epochs": 240, "batch_size": 512})
    summary = summarise([own, make("sp")])
    assert summary.shared == {"dataset": "digits", "epochs": 4, "batch_size": 64}
    assert [line.kind for line in summary.lines] == ["teacher", "method"]


def test_a_lone_teacher(make: Make) -> None:
    assert "| teacher | 12,345 | 99.00 | 1 |" in summarise([make("teacher", top1=99.0)]).markdown()


def test_nothing_is_refused() -> None:
    with pytest.raises(Fault, match="one run at least"):
        summarise([])


def test_markdown_cannot_be_broken_by_a_label(make: Make) -> None:
    line = summarise([make("a|b*c\nd")]).markdown().splitlines()[3]
    assert line.startswith(r"| a\|b\*c d |")


def test_a_difference_without_an_interval_says_why(make: Make) -> None:
    records = three(make, "none", 95, 97, 96) + three(make, "sp", 97, 98, 99)
    records += three(make, "kd", 96, 98, 97)
    assert "No interval for kd: Δ does not vary over the seeds." in summarise(records).notes()


def test_one_seed_of_one_method(make: Make) -> None:
    assert summarise([make("sp")]).notes() == [
        "Last epoch; one seed; nothing was chosen by the 360 test images."
    ]


def test_a_refusal_says_where_the_runs_lie(make: Make) -> None:
    runs = [make("sp"), make("sp", changes={"dataset": "mnist"})]
    with pytest.raises(Fault, match=r"for runs/a and 'mnist' for runs/b"):
        summarise(runs, [Path("runs/a"), Path("runs/b")])


def test_notes_are_as_wide_as_the_terminal(make: Make) -> None:
    text = printed(summarise([make("sp"), make("kd")]), 100)
    assert "Last epoch; one seed; nothing was chosen by the 360 test images.\n" in text
