"""The grammar of methods, of whatever methods there are."""

import pytest

from relatum.method_names import Part, parse
from relatum.types import Fault

FAMILIES = {"none": "task", "sp": "maps", "kd": "logits"}


def test_only_what_is_there_is_known() -> None:
    assert parse("sp@maps=2+ce=3", FAMILIES) == (Part("sp", "maps", 2.0), Part("ce", None, 3.0))
    with pytest.raises(Fault, match="no method 'sp'; the nearest is 'kd'"):
        parse("sp", {"kd": "logits"})
    with pytest.raises(Fault, match="'none' is the student alone"):
        parse("none+kd", FAMILIES)


def test_options_are_shown() -> None:
    assert "(('temperature', 10.0),)" in repr(parse("kd(temperature=1e+1)", FAMILIES))
