"""What a trace says: of a device by events as torch writes them, of the processor by a real one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from relatum.profiling import Watch, region, watching
from relatum.profiling.regions import SETTLED
from relatum.profiling.trace import Trace, read

LABELS = ("data", "step", "teacher", "backward", "losses/sp")
MAIN, AUTOGRAD, STREAM = 1, 2, 7


def event(cat: str, name: str, ts: float, dur: float, tid: int = MAIN, **args: Any) -> Any:
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "tid": tid, "args": args}


def labels(at: float) -> list[Any]:
    """A step of 100 µs, after data of 10."""
    return [
        event("user_annotation", "ProfilerStep#3", at, 110),
        event("user_annotation", "data", at, 10),
        event("user_annotation", "step", at + 10, 100),
        event("user_annotation", "teacher", at + 12, 20),
        event("user_annotation", "backward", at + 40, 40),
        event("user_annotation", "Optimizer.step#SGD.step", at + 85, 20),
    ]


def launched(name: str, at: float, runs: float, dur: float, key: int, tid: int = MAIN) -> list[Any]:
    return [
        event("cuda_runtime", "cudaLaunchKernel", at, 2, tid, correlation=key),
        event("kernel", name, runs, dur, STREAM, correlation=key),
    ]


def test_what_the_device_did_is_told_by_who_asked_for_it() -> None:
    events = [
        {"ph": "M", "name": "process_name", "args": {"name": "python"}},
        *labels(1000),
        *labels(2000),
        *launched("crop", 1005, 1006, 4, 1),
        *launched("gemm", 1015, 1050, 30, 2),  # runs when the host is elsewhere already
        *launched("dgrad", 1045, 1060, 40, 3, AUTOGRAD),  # at the same time, from another thread
        *launched("gemm", 2015, 2050, 10, 4),
        *launched("sgd", 2090, 2070, 6, 5),
        event("cuda_driver", "cuLaunchKernel", 2030, 1, correlation=6),
        event("gpu_memcpy", "Memcpy HtoD", 2100, 2, STREAM, correlation=6),
        *launched("test images", 1500, 1500, 400, 8),  # between two steps
        event("kernel", "of nobody", 1070, 50, STREAM, correlation=99),
    ]
    traced = read(events, LABELS)
    assert traced is not None
    assert traced.steps == 2
    expected = {"data": 0.002, "teacher": 0.021, "backward": 0.02, "step": 0.003}
    assert traced.device == pytest.approx(expected)
    assert traced.busy == pytest.approx((4 + 50 + 10 + 6 + 2) / 2 / 1e3), "two at once count once"
    assert [each.name for each in traced.operators] == [
        "gemm",
        "dgrad",
        "sgd",
        "crop",
        "Memcpy HtoD",
    ]
    gemm = traced.operators[0]
    assert (gemm.milliseconds, gemm.calls) == pytest.approx((0.02, 1.0))
    assert sum(each.share for each in traced.operators) == pytest.approx(1)


def test_operators_count_without_those_that_they_call() -> None:
    events = [
        *labels(0),
        event("cpu_op", "aten::linear", 12, 18),
        event("cpu_op", "aten::t", 13, 2),
        event("cpu_op", "aten::addmm", 16, 12),
        event("cpu_op", "aten::t", 45, 5),
        event("cpu_op", "aten::sum", 45, 30, AUTOGRAD),
        event("cpu_op", "aten::topk", 500, 1000),  # evaluation
    ]
    traced = read(events, LABELS)
    assert traced is not None
    found = {each.name: (each.milliseconds * 1e3, each.calls) for each in traced.operators}
    assert found == {
        "aten::sum": pytest.approx((30, 1)),
        "aten::addmm": pytest.approx((12, 1)),
        "aten::t": pytest.approx((7, 2)),
        "aten::linear": pytest.approx((4, 1)),
    }
    assert not traced.device
    assert traced.busy == 0


def test_a_trace_without_steps_says_nothing() -> None:
    assert read([event("cpu_op", "aten::sum", 45, 30)], LABELS) is None


def steps(count: int) -> None:
    for _ in range(count):
        with region("step"), region("teacher"):
            torch.ones(8, 8) @ torch.ones(8, 8)


def test_the_trace_holds_as_many_steps_as_were_wanted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trace = Trace(tmp_path / "profile" / "trace.json", 3, torch.device("cpu"))
    watch = Watch(2, trace)
    with watching(watch):
        steps(SETTLED + 2 + 20)
    traced = trace.read(LABELS)
    assert traced is not None
    assert traced.steps == 3
    assert {"aten::mm", "aten::ones"} <= {each.name for each in traced.operators}
    events = json.loads(trace.path.read_text())["traceEvents"]
    assert [e["name"] for e in events if e.get("cat") == "user_annotation"].count("teacher") == 3
    assert capfd.readouterr() == ("", ""), "torch's profiler says nothing that nobody asked for"


@pytest.mark.parametrize(("taken", "kept"), [(1, None), (2, None), (3, 1), (4, 2)])
def test_a_run_that_ends_meanwhile_keeps_what_there_is(
    tmp_path: Path, taken: int, kept: int | None
) -> None:
    """Two steps are thrown away, for the profiler's own first ones are slow."""
    trace = Trace(tmp_path / "trace.json", 3, torch.device("cpu"))
    with watching(Watch(1, trace)):
        steps(SETTLED + 1 + taken)
    traced = trace.read(LABELS)
    assert (traced.steps if traced else None) == kept
