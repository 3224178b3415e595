import csv as spreadsheet
import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from relatum.recipes.benchmark import Pair
from relatum.record import Record, Unfinished
from relatum.report.standings import Standings, standings, tables
from relatum.report.standings_notes import notes, pair_notes
from relatum.report.standings_text import columns, csv, latex, markdown, overview, terminal

Runs = Callable[..., list[Record]]
MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
VALUES = {"none": (69.0, 69.2, 68.8), "sp": (69.6, 69.8, 69.4), "kd": (70.6, 70.8, 70.4)}
"""Each with a standard deviation of 0.2, so that this is the pooled one."""


def one(runs_of: Runs, **changes: Any) -> Standings:
    return standings(runs_of("resnet56", "resnet20", VALUES, **changes))


def refused(label: str = "fsp") -> Unfinished:
    return Unfinished(
        label=label,
        kind="refused",
        reason="stage 1 has 32 and 64 channels",
        seed=0,
        teacher="resnet56",
        student="resnet20",
    )


def test_markdown_by_hand(runs_of: Runs) -> None:
    """Dunnett's t for two methods and six degrees of freedom is 2.863: 0.2 · √(2/3) of it is
    0.468; a difference of 0.6 then has p = 0.018, and Tukey's q of 4.339 asks for 0.501."""
    text = markdown(standings(runs_of("resnet56", "resnet20", VALUES), [refused()]))
    lines = text.splitlines()
    assert lines[:4] == [
        "## cifar100, top-1",
        "",
        "cifar100: 240 epochs of batches of 64, short last batch dropped, crop and flip",
        "",
    ]
    assert lines[4:13] == [
        "### resnet56 → resnet20",
        "",
        "| method | rank | published % | top-1 % | n | Δ to alone | p |",
        "| :-- | --: | --: | --: | --: | --: | --: |",
        f"| teacher | {NOTHING} | 72.34 (last, n = 1) | 72.34 | {NOTHING} | {NOTHING} |"
        f" {NOTHING} |",
        "| kd | 1 | 70.66 (last, n = 5) | **70.60 ± 0.20** | 3 | **+1.60 \\[1.13 to 2.07\\]** |"
        " \\< 0.001 |",
        "| sp | 2 | 69.67 (last, n = 5) | 69.60 ± 0.20 | 3 | **+0.60 \\[0.13 to 1.07\\]** |"
        " 0.018 |",
        f"| student alone | 3 | 69.06 (last, n = 5) | 69.00 ± 0.20 | 3 | {NOTHING} | {NOTHING} |",
        f"| fsp | {NOTHING} | 69.95 (last, n = 5) | refused | 0 | {NOTHING} | {NOTHING} |",
    ]
    assert "- fsp: refused: stage 1 has 32 and 64 channels." in lines


def test_the_smallest_difference_is_said(runs_of: Runs) -> None:
    found = one(runs_of)
    [told, *rest] = pair_notes(found, found.pairs[0])
    assert told.startswith(
        "Pooled standard deviation 0.20 points (6 degrees of freedom): a true difference to the"
        " student alone of 0.6"
    )
    assert rest == []


def test_notes_say_what_was_tested_and_how(runs_of: Runs) -> None:
    measured, tested, ranked, printed = notes(one(runs_of))
    assert measured == (
        "Measured: top-1 after the last epoch, mean ± standard deviation over n = 3 seeds; nothing"
        " was chosen by the 10,000 test images."
    )
    assert "Dunnett's test" in tested
    assert "Methods share seeds" in tested
    assert "Tukey's test at 5 %" in ranked
    assert printed.endswith(
        "From RepDistiller's teachers; RepDistiller README, same architectures (CRD's table 1)."
    )


def test_a_scale_is_said_everywhere(runs_of: Runs) -> None:
    found = one(runs_of, scale=0.05)
    assert notes(found)[0].startswith("At scale 0.05 (12 epochs), for a first look: not comparable")
    assert found.title in markdown(found)
    assert "at scale 0.05: not comparable with published numbers" in latex(found)
    assert {row["scale"] for row in spreadsheet.DictReader(io.StringIO(csv(found)))} == {"0.05"}


def test_another_protocol_is_said(runs_of: Runs) -> None:
    told = notes(one(runs_of, validation=0.1, weight_decay=0.0))[0]
    assert told == (
        "Not the protocol of the published numbers, and so not comparable with them: validation"
        " 0.1 (not 0.0); weight decay 0.0 (not 0.0005)."
    )
    digits = runs_of("digits-cnn-large", "digits-cnn-small", VALUES, dataset="digits", epochs=3)
    assert not any("published" in note for note in notes(standings(digits)))


def test_best_on_test_is_labelled_and_not_ranked(runs_of: Runs) -> None:
    plain = one(runs_of)
    assert not any("best" in column.heading for column in columns(plain, plain.pairs[0]))
    found = standings(runs_of("resnet56", "resnet20", VALUES, metrics={"best_on_test_top1": 75.5}))
    [column] = [each for each in columns(found, found.pairs[0]) if "test" in each.heading]
    assert column.heading == "best on test (not ranked)"
    assert set(column.cells) == {"", "75.50 ± 0.00"}
    assert "too high, and only there because papers report it" in notes(found)[0]


def test_best_by_validation(runs_of: Runs) -> None:
    found = standings(runs_of("resnet56", "resnet20", VALUES, metrics={"best_top1": 70.0}))
    headings = [each.heading for each in columns(found, found.pairs[0])]
    assert "best by validation" in headings
    assert "best on test (not ranked)" not in headings


def test_numbers_on_other_terms_are_marked(runs_of: Runs) -> None:
    found = standings(runs_of("resnet56", "resnet20", {**VALUES, "skd": (71.0, 71.2, 70.8)}))
    [column] = [each for each in columns(found, found.pairs[0]) if each.heading == "published %"]
    assert "72.50 (epoch ?, n = 1?) ‡" in column.cells
    assert any(note.startswith("‡ StreamLined README") for note in notes(found))


def test_overview_of_several_pairs(runs_of: Runs) -> None:
    records = runs_of("resnet56", "resnet20", VALUES)
    records += runs_of("resnet110", "resnet20", {"kd": (70.6, 70.8)})
    found = standings(records, [refused()])
    names, one, other, mean = overview(found)
    assert names.cells == ("teacher", "student alone", "sp", "kd", "fsp")
    assert (one.heading, other.heading) == ("resnet56 →\nresnet20", "resnet110 →\nresnet20")
    assert one.cells == ("72.34", "69.00 ± 0.20", "69.60 ± 0.20", "70.60 ± 0.20", "refused")
    assert one.bold == {3}
    assert other.cells == ("72.34", "69.00 ± 0.20", "not run", "70.70 ± 0.14 (n = 2)", "not run")
    assert mean.heading == "mean"
    assert mean.cells == ("", "69.00", "", "70.65", ""), "over all pairs or not at all"


def test_markdown_holds_every_table(runs_of: Runs) -> None:
    whole = runs_of("resnet56", "resnet20", VALUES)
    whole += runs_of("resnet110", "resnet20", {"kd": (70.6, 70.8)})
    short = runs_of("vgg13", "vgg8", {"kd": (50.0, 51.0)}, scale=0.05)
    text = markdown(*tables([*whole, *short]))
    assert text.count("\n## ") + text.startswith("## ") == 2
    assert text.count("\n### ") == 3
    assert text.count("| mean |") == 1


def test_csv_holds_what_was_measured(runs_of: Runs) -> None:
    found = standings(runs_of("resnet56", "resnet20", VALUES), [refused()])
    rows = {row["method"]: row for row in spreadsheet.DictReader(io.StringIO(csv(found)))}
    assert list(rows) == ["kd", "sp", "none", "fsp"]
    kd = rows["kd"]
    assert float(kd["mean"]) == pytest.approx(70.6)
    assert float(kd["std"]) == pytest.approx(0.2)
    assert [float(each) for each in kd["values"].split()] == [70.6, 70.8, 70.4]
    assert kd["seeds"] == "0 1 2"
    assert (kd["published_top1"], kd["published_epoch"], kd["published_runs"]) == (
        "70.66",
        "last",
        "5",
    )
    assert float(kd["difference"]) == pytest.approx(1.6)
    assert 0 < float(rows["sp"]["p"]) < 0.05
    assert (rows["fsp"]["state"], rows["fsp"]["mean"], rows["fsp"]["rank"]) == ("refused", "", "")
    assert rows["fsp"]["lacking"] == "refused: stage 1 has 32 and 64 channels"
    assert (kd["teacher_reaches"], kd["epochs"], kd["last_batch"]) == ("72.34", "240", "dropped")


def test_latex_puts_five_pairs_beside_each_other(runs_of: Runs) -> None:
    students = [f"resnet{size}" for size in (8, 14, 20, 32, 44, 56, 110)]
    records = [
        run
        for teacher in ("vgg13", "vgg19")
        for student in students[:4]
        for run in runs_of(teacher, student, {"kd": (70.6, 70.8)})
    ]
    text = latex(standings(records))
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2 + 8
    first, second = text.split(r"\begin{table}")[1:3]
    assert first.count(r"$\to$") == 5
    assert second.count(r"$\to$") == 3
    assert "mean" not in first.split(r"\midrule")[0]
    assert "& mean" in second.split(r"\midrule")[0]
    assert r"\parbox" in second
    assert r"\parbox" not in first


def test_a_terminal_of_80_characters_cuts_nothing(runs_of: Runs) -> None:
    found = standings(
        runs_of("resnet56", "resnet20", VALUES, metrics={"best_on_test_top1": 75.5}), [refused()]
    )
    console = Console(file=io.StringIO(), width=80)
    for table in terminal(found):
        console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    for piece in ("70.60 ± 0.20", "+1.60 [1.13 to 2.07]", "< 0.001", "refused", "resnet56"):
        assert piece in text
    assert "Published" not in text
    assert "Best on test" not in text


def test_one_seed_says_so(runs_of: Runs) -> None:
    found = standings(runs_of("resnet56", "resnet20", {**VALUES, "kd": (70.6,)}))
    assert "One seed is no evidence, so not tested and not ranked: kd." in pair_notes(
        found, found.pairs[0]
    )
    lone = standings(runs_of("resnet56", "resnet20", {"none": (69.0,), "kd": (70.6,)}))
    assert pair_notes(lone, lone.pairs[0]) == [
        "One seed is no evidence, so not tested and not ranked: kd, student alone."
    ]
    assert markdown(lone).count("±") == 1, "the words of the note alone"


def test_no_baseline_and_no_spread_say_so(runs_of: Runs) -> None:
    without = standings(runs_of("resnet56", "resnet20", {"kd": (70.6, 70.7)}))
    assert pair_notes(without, without.pairs[0])[0] == (
        "There is no run of the student alone to compare with."
    )
    still = standings(runs_of("resnet56", "resnet20", {"none": (69.0, 69.0), "kd": (70.0, 70.0)}))
    assert pair_notes(still, still.pairs[0])[0].startswith("Seeds do not differ at all")


def test_what_was_not_treated_alike(runs_of: Runs) -> None:
    records = runs_of("resnet56", "resnet20", {"none": (69.0, 69.2), "kd": (70.6, 70.8)})
    other = runs_of("resnet56", "resnet20", {"ab": (70.0, 70.1, 60.0)}, learning_rate=0.1)
    more = [
        run.model_copy(
            update={
                "rows": run.rows[:2],
                "teacher": run.teacher and run.teacher.model_copy(update={"weights_sha256": "ee"}),
            }
        )
        for run in other
    ]
    found = standings([*records, *more])
    told = " ".join(pair_notes(found, found.pairs[0]))
    assert "† ab made 44 updates, another number than the others." in told
    assert "Learning rates differ: none 0.05, kd 0.05, ab 0.1." in told
    assert "Students learnt from 2 teachers of different weights." in told
    assert "ab †" in columns(found, found.pairs[0])[0].cells


def test_a_method_that_spreads_too_far_is_named(runs_of: Runs) -> None:
    found = standings(runs_of("resnet56", "resnet20", {**VALUES, "at": (70.0, 60.0, 50.0)}))
    assert any(
        note.startswith("at spreads further than chance would have it")
        for note in pair_notes(found, found.pairs[0])
    )


def test_less_than_nothing_has_a_true_minus(runs_of: Runs) -> None:
    found = standings(runs_of("resnet56", "resnet20", {**VALUES, "ft": (66.0, 66.2, 65.8)}))
    assert f"**{MINUS}3.00 \\[{MINUS}3.47 to {MINUS}2.53\\]**" in markdown(found)


def test_a_pair_without_runs_is_there(runs_of: Runs) -> None:
    records = runs_of("resnet56", "resnet20", VALUES)
    found = standings(records, pairs=[Pair("vgg13", "vgg8")])
    text = markdown(found)
    assert "### vgg13 → vgg8" in text
    assert f"| kd | {NOTHING} | 72.98 (last, n = 5) | not run | 0 |" in text
    assert "There is no run of the student alone to compare with." in text


@pytest.mark.parametrize("write", [markdown, latex, csv])
def test_no_label_breaks_a_table(runs_of: Runs, write: Callable[..., str]) -> None:
    nasty = 'a|b & c_d\n"e", <f>\\g'
    text = write(standings(runs_of("resnet56", "resnet20", {**VALUES, nasty: (1.0, 2.0)})))
    if write is csv:
        rows = list(spreadsheet.DictReader(io.StringIO(text)))
        assert nasty in [row["method"] for row in rows]
    else:
        assert nasty not in text
        assert all(line.count("|") < 40 for line in text.splitlines())
