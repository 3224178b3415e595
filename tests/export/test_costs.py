"""What the networks of a run cost: whose time can be measured."""

import pytest

from relatum.export import costs
from relatum.types import Fault
from tests.report.conftest import make_record


@pytest.mark.parametrize(
    ("teacher", "why"),
    [("table:emb.parquet", "a table has no time"), ("runs/a,runs/b", "no time together")],
)
def test_teachers_that_have_no_time(teacher: str, why: str) -> None:
    with pytest.raises(Fault, match=why):
        costs._teacher(make_record(changes={"teacher": teacher}), (1, 8, 8))
