"""What methods say that they need is what they ask for."""

import re

import pytest

from relatum.methods import METHODS
from relatum.methods.needs import Needs, defaults, needs


def said(name: str) -> tuple[tuple[str, ...], str, bool]:
    asked = needs(name)
    return asked.reads, asked.words, asked.relational


def test_known_ones() -> None:
    assert said("none") == ((), "", False)
    assert said("kd") == (("logits",), "", False)
    assert said("sp") == (("maps",), "", True)
    assert said("rrd") == (("embedding",), "heads, memory", True)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_asked(name: str) -> None:
    asked = needs(name)
    assert isinstance(asked, Needs)
    assert bool(asked.reads) == (METHODS[name].family != "task")
    assert asked.stages >= 1


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"none"}))
def test_every_method_says_where_it_comes_from(name: str) -> None:
    method = METHODS[name]
    assert method.family in ("task", "logits", "embedding", "maps")
    assert 2014 <= method.year <= 2026
    assert re.search(r"arXiv \d{4}\.\d{4,5}|\d{4}", method.paper)
    assert method.summary.endswith((".", ")"))


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"none"}))
def test_every_method_says_where_its_numbers_come_from(name: str) -> None:
    about = METHODS[name].build.__doc__ or ""
    source = r"RepDistiller|mdistiller|distillers|cls_KD|authors|notebook|Zoo|published"
    assert re.search(source, about)


def test_defaults_are_the_method_s_own_where_it_has_some() -> None:
    assert defaults("lskd") == {"temperature": 2.0}  # the loss itself has none
    assert defaults("rrd")["teacher_temperature"] == 0.02
    assert defaults("rrd-2024")["teacher_temperature"] == 0.1
    assert defaults("rrd")["queue_size"] == "fitted to the set"
