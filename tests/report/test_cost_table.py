from pathlib import Path

import pytest

from relatum.cost_file import NAME, Costs, Measured
from relatum.evaluate.latency import Timing
from relatum.report.cost_table import columns_of, cost_table
from relatum.types import Fault
from tests.report.conftest import make_record, teacher


def timing(batch: int, median: float) -> Timing:
    return Timing(device="cpu", threads=2, batch=batch, median=median, p90=2 * median, passes=9)


MEASURED = Measured(
    networks={
        "student": Costs(
            network="small",
            parameters=12_345,
            macs=400_000,
            bytes=50_000,
            timings=(timing(1, 0.5),),
        ),
        "teacher": Costs(
            network="large", parameters=155_000, macs=9_000_000, timings=(timing(1, 4.25),)
        ),
    }
)


def test_networks_side_by_side() -> None:
    columns = columns_of(MEASURED.networks)
    headings = [column.heading for column in columns]
    assert headings == ["", "student", "teacher", "teacher ÷ student"]
    rows = list(zip(*(column.cells for column in columns), strict=True))
    assert rows == [
        ("network", "small", "large", ""),
        ("parameters", "12.3 k", "155 k", "12.6"),
        ("multiply-adds an image", "400 k", "9 M", "22.5"),
        ("file", "50 kB", "", ""),
        ("ms (p90), batch of 1, cpu", "0.50 (1.00)", "4.25 (8.50)", "8.5"),
    ]


def test_what_was_measured_goes_before_what_records_say(tmp_path: Path) -> None:
    runs = [(tmp_path, make_record("sp"))]
    before = cost_table(runs)
    assert "155 k" in before  # the teacher's size, of the record
    assert "report FOLDER --latency" in before
    assert "9 M" not in before
    MEASURED.save(tmp_path)
    after = cost_table(runs)
    assert "9 M" in after
    assert "4.25 (8.50)" in after
    assert "cpu, 2 threads" in after
    assert after.index("teacher") < after.index("student")


def test_what_is_known_of_a_teacher_that_lies_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    known = teacher().model_copy(update={"macs": 9_000_000})
    record = make_record("sp", changes={"teacher": str(tmp_path / "run")}, teacher=known)
    told = cost_table([(tmp_path, record)])
    assert "<td>9 M</td>" in told
    assert "<td>22.5</td>" in told
    assert ">file<" not in told
    (tmp_path / "run" / "student.safetensors").write_bytes(b"x" * 620_000)
    assert "<td>620 kB</td>" in cost_table([(tmp_path, record)])
    file = make_record("sp", changes={"teacher": f"own.py:make@{tmp_path}/run"}, teacher=known)
    assert "<td>620 kB</td>" in cost_table([(tmp_path, file)])


def test_the_file_is_weighed(tmp_path: Path) -> None:
    (tmp_path / "student.safetensors").write_bytes(b"x" * 2500)
    assert "2.5 kB" in cost_table([(tmp_path, make_record("none"))])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("{")
    with pytest.raises(Fault, match="delete it and measure again"):
        cost_table([(tmp_path, make_record())])
    assert cost_table([]) == ""
