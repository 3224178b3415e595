"""What benchmarks/step.py compares is the same training; its floor follows from the networks."""

import importlib
import json
import re
import runpy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from relatum import Fault, losses
from relatum.datasets import DATASETS
from relatum.evaluate import macs, parameters
from relatum.models import create

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
shared, ways, check, loop, floor, table, step, digits, jobs = (
    importlib.import_module(name)
    for name in (
        "step_settings",
        "step_ways",
        "step_check",
        "usual_loop",
        "floor",
        "step_table",
        "step",
        "usual_digits",
        "small_job",
    )
)


@pytest.fixture(autouse=True, scope="module")
def sets() -> Iterator[None]:
    """The benchmark makes a set known by name; here it is forgotten again."""
    before = dict(DATASETS)
    yield
    DATASETS.clear()
    DATASETS.update(before)


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    made = shared.Settings(("resnet14", "resnet8"), "sp", 8, 2, CPU, None, tmp_path)
    shared.begin(made)
    return made


@pytest.mark.parametrize("method", ["sp", "rrd"])
def test_both_loops_give_the_same_losses(settings: Any, method: str) -> None:
    assert check.losses_apart(settings.of(method)) < 1e-5


def test_loops_that_differ_are_told_apart(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = loop.SP.forward
    monkeypatch.setattr(loop.SP, "forward", lambda *maps: 1.001 * right(*maps))
    assert check.losses_apart(settings) > step.TOLERANCE
    asked = step._arguments(["--pair", "resnet14,resnet8"])
    with pytest.raises(Fault, match="sp: the two loops differ, a loss by"):
        step._method(asked, settings, False, {})


def test_the_loader_gives_what_relatum_sees(settings: Any) -> None:
    ours = ways.Ours(settings.recipe(augment=()), CPU)
    batch = next(ours.ready.batches.epoch(1))
    seen = ours.distiller.student.prepare(batch.images)
    samples = ways.samples_of(ours.ready, augment=False)
    loaded = [samples[place] for place in batch.indices.tolist()]
    assert torch.equal(seen, torch.stack([image for image, _ in loaded]))
    assert batch.labels is not None
    assert batch.labels.tolist() == [label for _, label in loaded]


def test_every_way_trains(settings: Any) -> None:
    names = ways.names_of([0], ["exact", "fast"], False, True, CPU)
    assert names[:2] == ["usual, 0 workers", "exact"]
    assert names[-1] == "fast"
    for name in names:
        way = ways.built(settings, name)
        one = isinstance(way, ways.Usual)
        student = way.loop.student.network if one else way.distiller.student.network
        before = student.fc.weight.detach().clone()
        way()
        assert not torch.equal(before, student.fc.weight)
        assert ways.kind_of(way) in floor.ARITHMETIC
        last = student.conv1.weight.is_contiguous(memory_format=torch.channels_last)
        assert last == (name not in ("usual, 0 workers", "exact"))


def test_a_queue_is_as_long_as_with_all_images(settings: Any) -> None:
    ours = ways.Ours(settings.of("rrd").recipe(), CPU)
    (rrd,) = (term.loss for name, term in ours.distiller.objective.terms.items() if name == "rrd")
    assert len(rrd.queue) == len(loop.RRD(4, 4).queue) == 16384


def test_the_floor_follows_from_the_networks() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 5)
    )
    of_one = 16 * 8 * 27 + 8 * 16 * 5
    assert macs(network, (3, 4, 4)) == of_one
    needed = floor.work(network, network, (3, 4, 4), batch=7)
    assert needed.operations == (2 * 7 * of_one, 3 * 2 * 7 * of_one)
    assert needed.activations == (7 * (16 * 8 + 5),) * 2
    assert needed.weights == (parameters(network),) * 2 == (8 * 27 + 8 * 16 * 5 + 5,) * 2
    assert needed.arithmetic(cached=True) == 3 * 2 * 7 * of_one
    live, cached = needed.bytes(2, cached=False), needed.bytes(2, cached=True)
    assert live - cached == 2 * (2 * needed.activations[0] + needed.weights[0])


def test_the_floor_is_the_slower_of_the_two() -> None:
    needed = floor.Work((600, 400), (30, 20), (5, 5))
    rates = {"float32": {"operations_per_second": 100.0}, "bytes_per_second": 10.0}
    assert floor.floor(needed, rates, "float32", cached=False) == {
        "arithmetic": 10.0,
        "memory": (4 * (2 * 30 + 5 + 5 * 20) + 4 * 8 * 5) / 10.0,
        "seconds": 82.0,
    }
    quick = replace(needed, activations=(0, 0), weights=(0, 0))
    assert floor.floor(quick, rates, "float32", cached=True)["seconds"] == 4.0


def test_a_table_compares_with_the_quickest_loop() -> None:
    seconds = {"usual, 0 workers": [0.3, 0.2, 0.9], "usual, 2 workers": [0.4], "exact": [0.1, 0.1]}
    found = {
        "seconds_of_a_step": seconds,
        "floor_seconds": {name: {"seconds": 0.05} for name in seconds},
    }
    result = {"batch": 64, "steps_of_240_epochs": 36_000}
    rows = table.ways_table(found, result).splitlines()
    assert "loop, 0 workers | 300 | 200 to 900 | 213 | 1.00 | 50.00 | 6.00" in rows[2]
    assert "relatum exact | 100 | 100 to 100 | 640 | 3.00 | 50.00 | 2.00 |  | 1.0 |" in rows[4]


def test_the_scripts_networks_are_relatums() -> None:
    for widths, name in (((16, 32, 64), "digits-cnn-large"), ((3, 6, 12), "digits-cnn-small")):
        own = create(name, channels=1, size=8, classes=10)
        assert parameters(digits.Network(widths)) == parameters(own)
    maps = torch.randn(6, 3, 2, 2), torch.randn(6, 8, 2, 2)
    torch.testing.assert_close(digits.similarity(*maps), losses.SP()(*maps))


def test_a_job_is_timed_from_its_start_to_its_end() -> None:
    wait = ["-c", "import sys, time; time.sleep(0.2); assert sys.argv[1] == '--out'"]
    (seconds,) = jobs.measured({"waits": (wait, None)}, 1)["waits"]
    assert seconds > 0.2
    with pytest.raises(Fault, match=r"fails failed: .*no way"):
        jobs.measured({"fails": (["-c", "raise SystemExit('no way')"], None)}, 1)


def test_the_pages_show_what_was_measured() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "make_speed_picture.py"))
    results = [json.loads((script["RESULTS"] / f"{name}.json").read_text()) for name in RESULTS]
    for page, parts in script["pages"](*results).items():
        text = page.read_text(encoding="utf-8")
        assert script["filled"](text, parts) == text, "run: python docs/make_speed_picture.py"
    with pytest.raises(ValueError, match=re.escape("has no <!-- x -->")):
        script["filled"]("a page", {"x": ""})


RESULTS = ("step", "mnist_epoch")
