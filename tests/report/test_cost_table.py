import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from relatum.cost_file import NAME, Costs, Measured
from relatum.evaluate.latency import Timing
from relatum.report.cost_table import columns_of, cost_table, terminal
from relatum.types import Fault
from relatum.weights import fingerprint, save_weights
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
    network = torch.nn.Linear(400, 400, bias=False)
    known = teacher().model_copy(update={"macs": 9_000_000, "weights_sha256": fingerprint(network)})
    record = make_record("sp", changes={"teacher": str(tmp_path / "run")}, teacher=known)
    told = cost_table([(tmp_path, record)])
    assert "<td>9 M</td>" in told
    assert "<td>22.5</td>" in told
    assert ">file<" not in told
    save_weights(network, tmp_path / "run" / "student.safetensors")
    assert "<td>640 kB</td>" in cost_table([(tmp_path, record)])
    file = make_record("sp", changes={"teacher": f"own.py:make@{tmp_path}/run"}, teacher=known)
    assert "<td>640 kB</td>" in cost_table([(tmp_path, file)])


@pytest.mark.parametrize(
    "place", ["", "teacher", "one,two@teacher", "long" * 2000, "timm/a:pretrained"]
)
def test_another_file_is_not_weighed_for_the_teacher_s(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place of the record may be one of another folder, or none at all."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "teacher").mkdir()
    for folder in (".", "teacher"):
        save_weights(torch.nn.Linear(400, 400), tmp_path / folder / "student.safetensors")
    record = make_record("sp", changes={"teacher": place})
    told = cost_table([(tmp_path / "run", record)])
    assert "<td>155 k</td>" in told
    assert ">file<" not in told
    (tmp_path / "teacher" / "student.safetensors").write_bytes(b"no weights")
    assert cost_table([(tmp_path / "run", record)]) == told


def test_the_file_is_weighed(tmp_path: Path) -> None:
    (tmp_path / "student.safetensors").write_bytes(b"x" * 2500)
    assert "2.5 kB" in cost_table([(tmp_path, make_record("none"))])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("{")
    with pytest.raises(Fault, match="delete it and measure again"):
        cost_table([(tmp_path, make_record())])
    assert cost_table([]) == ""


def test_a_narrow_terminal_loses_no_number() -> None:
    long = MEASURED.networks["student"].model_copy(update={"network": "timm/a_long_name_of_a_net"})
    lines = {**MEASURED.networks, "student": long, "student.onnx": long}
    console = Console(file=io.StringIO(), width=40)
    console.print(terminal(lines, ["said below"]), crop=False)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for piece in ("parameters", "4.25 (8.50)", "0.50 (1.00)", "teacher: large", "said below"):
        assert piece in text
    assert "timm/a_long_name_of_a_net" in text
