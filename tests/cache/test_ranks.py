"""Processes that train together: one fills the cache, all read it, each its part of a batch."""

from pathlib import Path

import pytest

from tests.cache.ranks import FOLDER
from tests.processes import start


def test_one_fills_it_and_all_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "cache"))
    one, other = start("tests.cache.ranks")
    assert sorted(each["seen"] > 2000 for each in (one, other)) == [False, True]
    assert one["again"] == other["again"] == 0
    for found in (one, other):
        for live, kept in zip(found["live"], found["cached"], strict=True):
            assert kept == pytest.approx(live, rel=1e-5)
    assert one["cached"] == other["cached"]
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 2 * 2 * 3
