"""The trackers of others, as they are: what they were told can be read back from them."""

import importlib.util
import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relatum import trackers
from relatum.checkpoint import Interrupted
from relatum.recipes.recipe import Recipe
from relatum.record import Record
from relatum.run import run
from relatum.trackers import names_of, values_of
from relatum.types import Fault
from tests.processes import long
from tests.run.runs import Halts

RECIPE = Recipe(
    dataset="digits",
    student="digits-cnn-small",
    method="none",
    epochs=3,
    batch_size=128,
    learning_rate=0.1,
    samples=256,
)
"""Of two steps an epoch."""


def stopped_and_gone_on(tmp_path: Path, name: str) -> Record:
    display = Halts(3)  # within the second epoch
    first: Any = {"stop": display.stop, "display": display, "overwrite": True}
    with pytest.raises(Interrupted):
        run(RECIPE, tmp_path, label="l", track=(name,), **first)
    return run(RECIPE, tmp_path, label="l", resume=True, track=(name,))


def test_tensorboard_shows_every_epoch_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    for _ in "twice":  # the second in the place of the first
        record = stopped_and_gone_on(tmp_path, "tensorboard")
        seen: Any = EventAccumulator(str(tmp_path / "tensorboard"))
        seen.Reload()
        for name in ("loss/ce", "learning_rate", "seconds"):
            points = [(each.step, each.value) for each in seen.Scalars(name)]
            told = [values_of(row)[name] for row in record.rows]
            assert points == [(n, pytest.approx(value)) for n, value in enumerate(told, start=1)]
        assert not any(each.startswith("final/") for each in seen.Tags()["scalars"])
        (text,) = seen.Tensors("results/text_summary")
        assert (
            f"| top1 | {record.metrics['top1']:,.6g} |" in text.tensor_proto.string_val[0].decode()
        )
        content = seen.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        fields = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
        assert fields["dataset"].string_value == "digits"
        assert fields["final/top1"].number_value == record.metrics["top1"]


def logged(path: Path) -> Iterator[Any]:
    """What W&B wrote: blocks of 32 KiB behind a header, records cut into pieces (LevelDB's log)."""
    from wandb.proto.wandb_internal_pb2 import Record as Said

    content, block, place, whole = path.read_bytes(), 32768, 7, b""
    while place + 7 <= len(content):
        if block - place % block < 7:
            place += block - place % block
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # the whole of one, or its last piece
            yield Said.FromString(whole)
            whole = b""


def test_wandb_has_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    for name in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "own"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    record = run(RECIPE, tmp_path, label="l", track=("wandb",))
    (path,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    said = list(logged(path))
    rows = [
        {item.key or item.nested_key[0]: item.value_json for item in each.history.item}
        for each in said
        if each.HasField("history")
    ]
    assert [float(row["loss/ce"]) for row in rows] == [row.losses["ce"] for row in record.rows]
    assert [int(row["_step"]) for row in rows] == [1, 2, 3]
    about = next(each.run for each in said if each.HasField("run"))
    assert about.display_name == "digits-cnn-small l seed 0"
    assert about.project == "relatum"
    assert path.stem == f"run-{json.loads((tmp_path / 'tracking.json').read_text())['key']}"
    summary = {item.key: item.value_json for each in said for item in each.summary.update}
    assert float(summary["final/top1"]) == record.metrics["top1"]


@long
def test_mlflow_has_every_epoch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    from mlflow import MlflowClient

    address = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    record = stopped_and_gone_on(tmp_path / "run", "mlflow")
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("relatum")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "digits-cnn-small l seed 0"
    assert found.data.params["dataset"] == "digits"
    points = client.get_metric_history(found.info.run_id, "loss/ce")
    told = [(number, row.losses["ce"]) for number, row in enumerate(record.rows, start=1)]
    assert [(each.step, each.value) for each in points] == told
    assert math.isclose(found.data.metrics["final/top1"], record.metrics["top1"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tensorbord", "the nearest is 'tensorboard'"),
        ("mlflow, mlflow", "'mlflow' is there twice"),
        ("", "there is no tracker ''"),
    ],
)
def test_a_wrong_name_is_refused(text: str, why: str) -> None:
    with pytest.raises(Fault, match=why):
        names_of(text)


def test_names_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    assert names_of("mine.py:Mine, my_lab.log:Other") == ("mine.py:Mine", "my_lab.log:Other")
    with pytest.raises(Fault, match=r"pip install 'relatum\[wandb\]'"):
        names_of("mine.py:Mine,wandb")


def test_every_tracker_is_called_as_its_package_and_extra_are() -> None:
    import tomllib

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    for name, place in trackers.TRACKERS.items():
        assert any(each.startswith(name) for each in extras[name])
        assert importlib.util.find_spec(place.partition(":")[0]) is not None
