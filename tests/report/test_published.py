import tomllib
from collections import Counter
from importlib.resources import files

import pytest

from relatum.methods import METHODS
from relatum.models import MODELS
from relatum.recipes.benchmark import ACROSS, ALIKE, PAIRS
from relatum.report.published import TEACHER, lookup, published

BENCHMARK = [
    "none",
    "kd",
    "fitnet",
    "at",
    "sp",
    "cc",
    "vid",
    "rkd",
    "pkt",
    "ab",
    "ft",
    "nst",
    "crd",
    "crd+kd",
]
AUTHORS = ["dcd", "dcd+kd", "rrd-2024", "rrd-2024+kd"]
LATER = ["ttm", "wttm", "wttm+crd", "wttm+itrd", "itrd", "dist"]
FOREIGN = {
    *("ctkd-lskd", "dkd-lskd", "mlkd-lskd", "wcord", "norm", "norm+kd", "norm+crd", "distpro"),
    *("dot", "wkd-l", "wkd-f", "wkd-l+wkd-f", "sskd", "hsakd", "hsakd-joint", "sdd"),
}
"""Methods that are printed beside ours, and are none of ours."""


def first(teacher: str, student: str, method: str) -> tuple[float, str, int | None]:
    found = lookup("cifar100", teacher, student, method)[0]
    return found.top1, found.epoch, found.runs


@pytest.mark.parametrize("method", [TEACHER, *BENCHMARK, *AUTHORS, *LATER])
def test_all_thirteen_pairs_are_there(method: str) -> None:
    assert [pair for pair in PAIRS if not lookup("cifar100", *pair, method)] == []


def test_what_nobody_could_run_is_not_there() -> None:
    there = [pair for pair in PAIRS if lookup("cifar100", *pair, "fsp")]
    assert there == [pair for pair in ALIKE if pair.student != "wrn-40-1"]


@pytest.mark.parametrize(
    ("teacher", "student", "method", "expected"),
    [
        ("wrn-40-2", "wrn-16-2", "sp", (73.83, "last", 5)),
        ("resnet32x4", "shufflenetv2", "sp", (74.56, "last", 3)),
        ("resnet50-cifar", "mobilenetv2", "kd", (67.35, "last", 3)),
        ("resnet32x4", "resnet8x4", "teacher", (79.42, "last", 1)),
        ("resnet110", "resnet20", "none", (69.06, "last", 5)),
        ("vgg13", "vgg8", "rrd-2024", (73.99, "best", 1)),
        ("wrn-40-2", "shufflenetv1", "rrd-2024+kd", (76.31, "best", 1)),
        ("wrn-40-2", "wrn-16-2", "dkd", (76.23, "best", 5)),
        ("resnet32x4", "resnet8x4", "itrd", (76.69, "unknown", None)),
        ("resnet32x4", "resnet8x4", "mlkd", (77.08, "best", None)),
        ("resnet56", "resnet20", "luminet", (72.29, "best", None)),
        ("resnet110", "resnet32", "ickd", (73.89, "unknown", None)),
        ("resnet56", "resnet20", "lskd", (71.43, "best", None)),
        ("resnet110", "resnet32", "reviewkd", (73.89, "unknown", None)),
        ("wrn-40-2", "wrn-40-1", "simkd", (75.56, "unknown", None)),
    ],
)
def test_cells_by_hand(
    teacher: str, student: str, method: str, expected: tuple[float, str, int | None]
) -> None:
    assert first(teacher, student, method) == expected


@pytest.mark.parametrize(
    ("method", "mean"),
    [
        *[("none", 69.98), ("ft", 70.00), ("cc", 70.34), ("rkd", 70.60), ("fitnet", 70.65)],
        *[("nst", 70.76), ("ab", 71.08), ("vid", 71.44), ("sp", 71.89), ("pkt", 72.08)],
        *[("kd", 72.39), ("dcd", 72.73), ("rrd-2024", 72.81), ("crd", 73.47)],
        *[("crd+kd", 73.71), ("rrd-2024+kd", 73.76), ("dcd+kd", 73.90)],
    ],
)
def test_columns_add_up(method: str, mean: float) -> None:
    values = [first(*pair, method)[0] for pair in PAIRS]
    assert sum(values) / len(PAIRS) == pytest.approx(mean, abs=0.006)


def test_kd_beats_what_came_before_crd_on_eight_pairs() -> None:
    """As the field counts it: a slip of one digit would change this."""
    before = ["fitnet", "at", "sp", "cc", "vid", "rkd", "pkt", "ab", "ft", "nst"]
    best = [all(first(*pair, "kd") > first(*pair, name) for name in before) for pair in PAIRS]
    assert sum(best) == 8


def test_the_other_architectures_are_means_of_fewer_runs_perhaps() -> None:
    for pair in ACROSS:
        found = lookup("cifar100", *pair, "sp")[0]
        assert found.told == "last, n = 3?"


def test_what_is_not_known_is_marked() -> None:
    assert lookup("cifar100", "wrn-40-2", "wrn-16-2", "rrd-2024")[0].told == "best?, n = 1?"
    assert lookup("cifar100", "wrn-40-2", "wrn-16-2", "itrd")[0].told == "epoch ?, n = ?"
    assert lookup("cifar100", "wrn-40-2", "wrn-16-2", "dkd")[0].told == "best, n = 5"


def test_what_is_on_other_terms_comes_last() -> None:
    """A teacher that is better by a point is no evidence for a method."""
    for (dataset, teacher, student, method), count in Counter(
        (each.dataset, each.teacher, each.student, each.method) for each in published()
    ).items():
        found = lookup(dataset, teacher, student, method)
        terms = [bool(each.other) for each in found]
        assert terms == sorted(terms)
        assert len(found) == count or dataset != "cifar100"


def test_sskd_s_own_teachers_stay_apart() -> None:
    found = lookup("cifar100", "wrn-40-2", "wrn-16-2", "sp")
    assert [(each.top1, bool(each.other)) for each in found] == [(73.83, False), (75.34, True)]


def test_transfer_is_a_question_of_its_own() -> None:
    assert lookup("stl10", "wrn-40-2", "wrn-16-2", "rrd-2024") == ()
    for dataset, value in {"stl10": 71.2, "tiny-imagenet": 34.6}.items():
        found = lookup(dataset, "wrn-40-2", "wrn-16-2", "rrd-2024", begun="cifar100")
        assert [each.top1 for each in found] == [value]


def test_what_is_printed_twice_differs_nowhere_silently() -> None:
    """Where two sources have a cell, they agree, or both are there to be seen."""
    found = lookup("cifar100", "resnet32x4", "resnet8x4", "itrd")
    assert [each.top1 for each in found] == [76.69, 76.19]
    assert "TTM" in found[1].source


def test_names_are_ours() -> None:
    assert {each.teacher for each in published()} | {each.student for each in published()} <= set(
        MODELS
    )
    terms = {part for each in published() for part in each.method.split("+")}
    assert terms - set(METHODS) - FOREIGN <= {TEACHER, "wkd-l", "wkd-f", "norm"}


def test_every_number_has_a_source_and_is_a_percentage() -> None:
    for each in published():
        assert each.source
        assert each.at.startswith("https://")
        assert 30 < each.top1 < 90
        assert each.std is None or 0 < each.std < 1
        assert each.epoch in ("last", "best", "unknown")
        assert each.unsure <= {"epoch", "runs", "values"}


def test_tables_hold_a_value_for_each_pair() -> None:
    """Counts, so that a cell that is lost is seen."""
    text = files("relatum.report").joinpath("published.toml").read_text(encoding="utf-8")
    for table in tomllib.loads(text)["table"]:
        assert len(set(table["pairs"])) == len(table["pairs"])
        for kind in ("top1", "std"):
            for values in table.get(kind, {}).values():
                assert len(values) == len(table["pairs"])
    assert Counter(each.dataset for each in published()) == {
        "cifar100": 863,
        "stl10": 11,
        "tiny-imagenet": 11,
    }
    assert sum(not each.other and each.dataset == "cifar100" for each in published()) == 633
