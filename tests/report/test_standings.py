from collections.abc import Callable
from statistics import fmean

import pytest

from relatum.recipes.benchmark import Pair
from relatum.record import Record, Unfinished
from relatum.report.comparisons import dunnett, pool
from relatum.report.standings import PairStandings, standings, tables
from relatum.types import Fault

Runs = Callable[..., list[Record]]
VALUES = {
    "none": (69.0, 69.2, 68.9),
    "kd": (70.5, 70.8, 70.6),
    "sp": (69.6, 69.9, 69.7),
    "crd": (71.2, 71.0, 71.3),
}


def lost(label: str, seed: int = 0, kind: str = "failed", **fields: str | None) -> Unfinished:
    named = {"teacher": "resnet56", "student": "resnet20", "reason": "it broke", **fields}
    return Unfinished.model_validate({"label": label, "seed": seed, "kind": kind, **named})


def only(*found: PairStandings) -> PairStandings:
    [pair] = found
    return pair


def test_methods_by_rank_and_mean(runs_of: Runs) -> None:
    found = standings(runs_of("resnet56", "resnet20", VALUES))
    pair = only(*found.pairs)
    assert pair.title == "resnet56 → resnet20"
    assert [(each.label, each.rank) for each in pair.methods] == [
        *[("crd", 1), ("kd", 2), ("sp", 3), ("none", 4)]
    ]
    assert all(each.state == "done" for each in pair.methods)
    assert found.labels == tuple(VALUES), "as they first appear"


def test_differences_are_dunnetts(runs_of: Runs) -> None:
    pair = only(*standings(runs_of("resnet56", "resnet20", VALUES)).pairs)
    pooled = pool(VALUES)
    assert pooled is not None
    assert pair.pooled == pooled
    expected = dunnett(pooled, "none")
    for each in pair.methods:
        assert each.line is not None
        assert each.line.difference == expected.get(each.label)


def test_another_baseline(runs_of: Runs) -> None:
    found = standings(runs_of("resnet56", "resnet20", VALUES), baseline="kd")
    gaps = {
        each.label: each.line.difference.mean
        for each in only(*found.pairs).methods
        if each.line and each.line.difference
    }
    assert gaps == pytest.approx(
        {label: fmean(VALUES[label]) - fmean(VALUES["kd"]) for label in ("none", "sp", "crd")}
    )
    assert found.beside == "kd"


def test_published_stands_beside(runs_of: Runs) -> None:
    pair = only(*standings(runs_of("resnet56", "resnet20", VALUES)).pairs)
    printed = {each.label: each.published.top1 for each in pair.methods if each.published}
    assert printed == {"crd": 71.16, "kd": 70.66, "sp": 69.67, "none": 69.06}
    assert pair.teacher is not None
    assert pair.teacher.top1 == 72.34


def test_nothing_is_published_of_other_sets(runs_of: Runs) -> None:
    runs = runs_of("resnet56", "resnet20", VALUES, dataset="cifar10")
    pair = only(*standings(runs).pairs)
    assert not any(each.published for each in pair.methods)
    assert pair.teacher is None


def test_a_student_alone_is_shared(runs_of: Runs) -> None:
    records = runs_of("resnet56", "resnet20", VALUES)
    records += runs_of("resnet110", "resnet20", {"kd": (70.6, 70.7, 70.4)})
    found = standings(records)
    assert [pair.pair for pair in found.pairs] == [
        *[Pair("resnet56", "resnet20"), Pair("resnet110", "resnet20")]
    ]
    other = found.pairs[1].of("none")
    assert other is not None
    assert other.line is not None
    assert other.line.n == 3


def test_what_is_refused_failed_or_not_there(runs_of: Runs) -> None:
    records = runs_of("resnet56", "resnet20", {"none": (69.0, 69.2), "kd": (70.5,)})
    found = standings(
        records,
        [
            *(lost("fsp", seed, "refused") for seed in (0, 1)),
            lost("kd", 1),
            lost("sp", 0, reason="no memory"),
            lost("sp", 1, reason="no disk"),
        ],
        labels=["none", "kd", "sp", "fsp", "crd"],
        seeds=(0, 1, 2),
    )
    told = {each.label: (each.state, each.lacking) for each in only(*found.pairs).methods}
    assert told == {
        "none": ("partial", ("seed 2 not run",)),
        "kd": ("partial", ("seed 1 failed: it broke", "seed 2 not run")),
        "sp": (
            "failed",
            ("seed 0 failed: no memory", "seed 1 failed: no disk", "seed 2 not run"),
        ),
        "fsp": ("refused", ("refused: it broke",)),
        "crd": ("not run", ("not run",)),
    }


def test_a_teacher_that_failed_explains_its_students(runs_of: Runs) -> None:
    records = runs_of("resnet56", "resnet20", {"none": (69.0, 69.2)})
    failed = lost("teacher", teacher=None, student="resnet56", reason="no memory")
    found = standings(records, [failed], pairs=[Pair("resnet56", "resnet20")], labels=["kd"])
    kd, none = (only(*found.pairs).of(label) for label in ("kd", "none"))
    assert kd is not None
    assert none is not None
    assert kd.lacking == ("not run: its teacher failed: no memory",)
    assert none.lacking == ()


def test_a_pair_without_any_run(runs_of: Runs) -> None:
    records = runs_of("resnet56", "resnet20", VALUES)
    found = standings(records, pairs=[Pair("vgg13", "vgg8")])
    empty = next(pair for pair in found.pairs if pair.pair == Pair("vgg13", "vgg8"))
    assert empty.summary is None
    assert {each.state for each in empty.methods} == {"not run"}
    assert empty.pooled is None


def test_one_seed_is_neither_tested_nor_ranked(runs_of: Runs) -> None:
    records = runs_of("resnet56", "resnet20", {**VALUES, "kd": (70.5,)})
    pair = only(*standings(records).pairs)
    kd = pair.of("kd")
    assert kd is not None
    assert kd.line is not None
    assert kd.rank is None
    assert kd.line.difference is None
    assert [each.label for each in pair.methods] == ["crd", "sp", "none", "kd"]


def test_without_a_baseline(runs_of: Runs) -> None:
    values = {label: VALUES[label] for label in ("kd", "sp")}
    pair = only(*standings(runs_of("resnet56", "resnet20", values)).pairs)
    assert [each.rank for each in pair.methods] == [1, 2], "ranks need none"
    assert pair.smallest is None


def test_what_was_chosen_on_test_ranks_nothing(runs_of: Runs) -> None:
    """Best on test would turn the order round, and does not."""
    records = runs_of("resnet56", "resnet20", {"none": (69.0, 69.1), "sp": (69.9, 70.0)})
    records += runs_of(
        "resnet56", "resnet20", {"kd": (70.5, 70.6)}, metrics={"best_on_test_top1": 99.0}
    )
    records[0] = records[0].model_copy(
        update={"metrics": {"top1": 69.0, "best_on_test_top1": 99.9}}
    )
    pair = only(*standings(records).pairs)
    assert [each.label for each in pair.methods] == ["kd", "sp", "none"]


def test_other_protocols_make_no_table(runs_of: Runs) -> None:
    records = runs_of("resnet56", "resnet20", {"none": (69.0, 69.2)})
    records += runs_of("resnet56", "resnet20", {"kd": (50.0, 51.0)}, scale=0.05)
    with pytest.raises(Fault, match=r"one protocol, and these runs have epochs 240, scale 1.0"):
        standings(records)


def test_one_table_for_each_protocol(runs_of: Runs) -> None:
    whole = runs_of("resnet56", "resnet20", {"none": (69.0, 69.2), "kd": (70.0, 70.5)})
    short = runs_of("resnet110", "resnet20", {"kd": (50.0, 51.0)}, scale=0.05)
    unfinished = [lost("sp"), lost("sp", teacher="resnet110"), lost("sp", teacher="vgg13")]
    one, other = tables([*whole, *short], unfinished)
    assert (one.which, other.which) == (
        "epochs 240, scale 1.0, milestones 150, 180, 210",
        "epochs 12, scale 0.05, milestones 8, 9, 10",
    )
    assert one.title == f"cifar100, top-1 ({one.which})"
    assert other.title.startswith("cifar100, top-1, at scale 0.05: not comparable with published")
    homes = [{pair.pair.teacher for pair in table.pairs} for table in (one, other)]
    assert homes == [{"resnet56", "vgg13"}, {"resnet110", "vgg13"}]


def test_one_protocol_is_one_table(runs_of: Runs) -> None:
    [found] = tables(runs_of("resnet56", "resnet20", VALUES), seeds=(0, 1, 2, 3))
    assert found.which == ""
    assert found.pairs[0].methods[0].lacking == ("seed 3 not run",)


def test_nothing_is_refused(runs_of: Runs) -> None:
    for make in (standings, tables):
        with pytest.raises(Fault, match="one finished run of a student"):
            make([])
    [bare, *_] = runs_of("resnet56", "resnet20", {"none": (69.0,)})
    with pytest.raises(Fault, match="something that was measured"):
        standings([bare.model_copy(update={"metrics": {}})])


def test_a_method_that_fell_apart_is_named(runs_of: Runs) -> None:
    values = {**VALUES, "sp": (70.0, 70.1, 12.0)}
    assert only(*standings(runs_of("resnet56", "resnet20", values)).pairs).uneven == "sp"
