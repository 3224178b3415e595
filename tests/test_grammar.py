"""The names of methods: joined, weighed, bound to other taps, and one's own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from relatum.grammar import Part, check_own, parse, split, stages
from relatum.losses import KD, SP
from relatum.methods import METHODS, Stage
from relatum.objective import Term
from relatum.types import Fault
from tests.methods.settings import AUTO, SETTING, TEACHER


def terms(text: str, setting: object = SETTING) -> dict[str, Term]:
    *_, last = stages(text, setting)  # type: ignore[arg-type]
    return dict(last.objective.terms)


def weights(text: str) -> dict[str, object]:
    return {name: term.weight for name, term in terms(text).items()}


# Reading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sp", [Part("sp")]),
        ("sp=3000", [Part("sp", None, 3000.0)]),
        ("sp@embedding", [Part("sp", "embedding")]),
        ("sp@embedding=2.5", [Part("sp", "embedding", 2.5)]),
        ("sp@a&b", [Part("sp", ("a", "b"))]),
        ("sp + kd", [Part("sp"), Part("kd")]),
        ("sp=1e+3+kd", [Part("sp", None, 1000.0), Part("kd")]),
        ("sp=1E+3+kd=2.e+1", [Part("sp", None, 1000.0), Part("kd", None, 20.0)]),
        ("sp=1e-3", [Part("sp", None, 0.001)]),
        ("sp=0", [Part("sp", None, 0.0)]),
        ("ce=0.5+kd", [Part("ce", None, 0.5), Part("kd")]),
        (
            "sp=3000+my_file:Mine@maps=25",
            [Part("sp", None, 3000.0), Part("my_file:Mine", "maps", 25.0)],
        ),
        ("rrd-2024", [Part("rrd-2024")]),
    ],
)
def test_what_can_be_read(text: str, parts: list[Part]) -> None:
    assert list(parse(text)) == parts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("spp", "no method 'spp'; the nearest is 'sp'"),
        ("rrdk", "the nearest is 'rr"),
        ("", "a name is missing"),
        ("sp+", "a name is missing"),
        ("+sp", "a name is missing"),
        ("sp=", "'' is no weight"),
        ("sp=big", "'big' is no weight"),
        ("sp=1=2", "is no weight"),
        ("sp=nan", "from 0 on, got nan"),
        ("sp=inf", "from 0 on, got inf"),
        ("sp=-1", "from 0 on, got -1"),
        ("sp@", "no tap is named behind '@'"),
        ("sp@=3", "no tap is named behind '@'"),
        ("none+kd", "'none' is the student alone"),
        ("kd+linear", "'linear' is the student alone"),
        ("linear-drifting=2", "'linear-drifting' takes no weight"),
        ("none=2", "takes no weight and no tap"),
        ("none@maps", "takes no weight and no tap"),
        ("ce", "cross-entropy alone is called 'none'"),
        ("ce=0.5", "cross-entropy alone is called 'none'"),
        ("ce+ce=2+kd", "cross-entropy is there twice"),
        ("ce@maps+kd", "it takes no tap"),
        ("0.5*sp@maps", "'0.5*sp' is no name; a method is written NAME(OPTION=VALUE)@TAP=WEIGHT"),
        ("kd sp", "'kd sp' is no name"),
        ("kd[temperature=8]", "'kd[temperature' is no name"),
        ("5", "'5' is no name"),
        ("kd(temperature=8", "brackets open and close once"),
        ("kd(temperature=8))", "brackets open and close once"),
        ("kd(temperature=8)(x=1)", "brackets open and close once"),
        ("sp@maps(batch_invariant=true)", "right behind the name"),
    ],
)
def test_what_cannot_be_read_is_one_line(text: str, words: str) -> None:
    with pytest.raises(Fault) as caught:
        parse(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lists() -> None:
    assert split("kd, sp=1e+3,rrkd+kd") == ["kd", "sp=1e+3", "rrkd+kd"]
    for text, words in (
        ("kd,,sp", "no name"),
        ("kd,", "no name"),
        ("kd,sp,kd", "'kd' is there twice"),
        ("kd,spp", "nearest is 'sp'"),
    ):
        with pytest.raises(Fault, match=words):
            split(text)


# Meaning ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["none", "kd", "sp", "rrkd", "rrd", "rrd-2024", "lp", "rkd", "pkt"]
)
def test_a_name_alone_is_the_method(name: str) -> None:
    (stage,) = METHODS[name](SETTING)
    wanted = {term: (type(e.loss), e.on, e.weight) for term, e in stage.objective.terms.items()}
    assert {t: (type(e.loss), e.on, e.weight) for t, e in terms(name).items()} == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("kd", {"ce": 0.1, "kd": 0.9}),
        ("kd=0.9", {"ce": 1.0, "kd": 0.9}),
        ("kd@output", {"ce": 0.1, "kd": 0.9}),
        ("sp=5", {"ce": 1.0, "sp": 5.0}),
        ("sp+kd", {"ce": 1.0, "sp": 3000.0, "kd": 1.0}),
        ("kd+sp", {"ce": 1.0, "kd": 1.0, "sp": 3000.0}),
        ("rrkd=2+kd=0.5", {"ce": 1.0, "rrkd": 2.0, "kd": 0.5}),
        ("ce=0.1+kd=0.9", {"ce": 0.1, "kd": 0.9}),
        ("kd=0.9+ce=0.1", {"ce": 0.1, "kd": 0.9}),
        ("ce=0+rrkd", {"ce": 0.0, "rrkd": 1.0}),
        ("ce+kd", {"ce": 1.0, "kd": 1.0}),
        ("lp", {"ce": 1.0, "lp": 1.5, "soft": 2.0}),
        ("lp=3+kd", {"ce": 1.0, "lp": 3.0, "soft": 2.0, "kd": 1.0}),
        ("rrd+rrd-2024=2", {"ce": 1.0, "rrd": 1.0, "rrd-2024": 2.0}),
        ("sp=1e+3", {"ce": 1.0, "sp": 1000.0}),
    ],
)
def test_weights(text: str, wanted: dict[str, float]) -> None:
    assert weights(text) == wanted


def test_taps() -> None:
    assert terms("sp@embedding")["sp"].on == "embedding"
    assert terms("sp@maps&embedding=2")["sp"].on == ("maps", "embedding")
    assert terms("sp@stages+rrkd@maps=2")["rrkd"].on == "maps"
    with pytest.raises(Fault, match="need the tap 'nope': the student has"):
        terms("sp@nope")
    with pytest.raises(Fault, match="need the tap 'nope'"):
        terms("kd@nope")


def test_one_loss_on_several_taps() -> None:
    found = terms("sp@maps=1+sp@embedding=2")
    assert {name: (each.on, each.weight) for name, each in found.items() if name != "ce"} == {
        "sp": ("maps", 1.0),
        "sp@embedding": ("embedding", 2.0),
    }
    for text in ("sp+sp", "kd=1+kd=2", "sp@maps+sp@embedding+sp@embedding", "lp+lp=2"):
        with pytest.raises(Fault, match="is there twice"):
            terms(text)


def test_without_labels() -> None:
    unlabelled = replace(SETTING, classes=None)
    assert set(terms("sp+kd", unlabelled)) == {"sp", "kd"}
    with pytest.raises(Fault, match="cross-entropy needs labels"):
        terms("ce=0.5+kd", unlabelled)
    with pytest.raises(Fault, match="cross-entropy needs labels and a student with logits"):
        terms("ce+rrkd", AUTO)


def test_what_cannot_be_joined_says_why() -> None:
    other = {**TEACHER, "output": TEACHER["embedding"]}
    with pytest.raises(Fault, match="kd compares logits over the same classes"):
        terms("sp+kd", replace(SETTING, teacher=other))


def test_earlier_stages_of_joined_methods_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def two(setting: object) -> tuple[Stage, ...]:
        (first,) = METHODS["rrkd"](SETTING)
        (last,) = METHODS["sp"](SETTING)
        return replace(first, share=1 / 3), last

    monkeypatch.setitem(METHODS, "two", replace(METHODS["sp"], build=two))
    first, last = stages("two=7+kd", SETTING)
    assert first.epochs(30) == 10
    assert set(first.objective.terms) == {"ce", "rrkd"}
    assert {name: term.weight for name, term in last.objective.terms.items()} == {
        "ce": 1.0,
        "sp": 7.0,
        "kd": 1.0,
    }


# One's own --------------------------------------------------------------------------------------

OWN = """
import torch
from torch import nn

class Plain(nn.Module):
    relational = True
    def forward(self, student, teacher):
        return student.mean()

class Sized(nn.Module):
    def __init__(self, student_dim, teacher_dim, samples, classes, scale=2.0, **more):
        super().__init__()
        self.made = (student_dim, teacher_dim, samples, classes, scale, more)
    def forward(self, student, teacher):
        return student.mean()

class Wants(nn.Module):
    def __init__(self, rank, depth):
        super().__init__()
    def forward(self, student):
        return student.mean()

class Labelled(nn.Module):
    def forward(self, student, labels):
        return student.mean()

class Asks(nn.Module):
    def forward(self, student, targets):
        return student.mean()

def function(student, teacher):
    return student.mean()
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "my_losses.py"
    path.write_text(OWN)
    return str(path)


def made(text: str) -> Any:
    """What a loss was built with."""
    loss: Any = terms(text)["Sized"].loss
    return loss.made


def test_a_loss_of_ones_own(own: str) -> None:
    found = terms(f"sp+{own}:Plain@maps=25")
    assert {name: (e.on, e.weight) for name, e in found.items()} == {
        "ce": ("output", 1.0),
        "sp": ("maps", 3000.0),
        "Plain": ("maps", 25.0),
    }
    assert set(terms(f"{own}:Plain")) == {"ce", "Plain"}
    assert terms(f"{own}:Plain")["Plain"].on == "embedding"
    assert set(terms(f"{own}:Plain", replace(SETTING, classes=None))) == {"Plain"}


def test_it_is_built_with_what_it_asks_for(own: str) -> None:
    assert made(f"{own}:Sized") == (12, 64, 50_000, 10, 2.0, {})
    assert made(f"{own}:Sized@maps")[:2] == (48, 256)
    with pytest.raises(Fault, match="the tap 'stages' has several"):
        terms(f"{own}:Sized@stages")


def test_it_may_read_several_layers_when_it_asks_for_no_width(own: str) -> None:
    assert terms(f"{own}:Plain@maps&embedding")["Plain"].on == ("maps", "embedding")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Wants", "built with rank, depth, which relatum does not know"),
        ("function", "is no loss: wanted a class derived from torch.nn.Module"),
        ("torch", "is no loss"),
        ("Plan", "has no 'Plan'; the nearest are Plain"),
        ("Asks", "forward asks for 'targets'"),
        ("Plain@nope", "need the tap 'nope'"),
    ],
)
def test_what_is_wrong_with_it_is_one_line(own: str, name: str, words: str) -> None:
    with pytest.raises(Fault) as caught:
        terms(f"{own}:{name}")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_that_needs_labels(own: str) -> None:
    assert "Labelled" in terms(f"{own}:Labelled@output")
    with pytest.raises(Fault, match="needs labels, and there are none to use here"):
        terms(f"{own}:Labelled", replace(SETTING, classes=None))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="no file"):
        terms(f"{tmp_path}/absent.py:Mine")


def test_ones_own_from_a_module() -> None:
    found = terms("relatum.losses:SP@maps=2+relatum.losses:KD@output")
    assert isinstance(found["SP"].loss, SP)
    assert isinstance(found["KD"].loss, KD)
    assert all(isinstance(each.loss, nn.Module) for each in found.values())


def test_a_weight_keeps_the_warm_up() -> None:
    (stage,) = stages("dkd=3+kd", SETTING)
    term = stage.objective.terms["dkd"]
    assert callable(term.weight)
    assert term.weight_at(0.0) == 0.0
    assert 0.0 < term.weight_at(1 / 24) < 3.0
    assert term.weight_at(0.5) == term.weight_at(1.0) == 3.0


def test_a_name_in_capitals_finds_its_own() -> None:
    with pytest.raises(Fault, match="the nearest is 'kd'"):
        parse("KD")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("loss = 3", "is no loss: wanted a class"),
        ("def broken(:", "cannot be imported: SyntaxError"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit"),
        ("other = 3", "has no 'loss'"),
    ],
)
def test_ones_own_loss_is_looked_for_early(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "mine.py").write_text(content)
    with pytest.raises(Fault) as caught:
        check_own(f"kd+{tmp_path}/mine.py:loss")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
