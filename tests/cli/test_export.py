"""``relatum export`` and ``relatum push`` as they are typed."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from relatum.cli import main
from relatum.cli.known import EXPORTS
from relatum.evaluate import latency
from relatum.export import FORMATS

Does = Callable[..., str]


@pytest.fixture
def run(teacher: Path, here: Path) -> Path:
    """A run's folder of this test's own."""
    shutil.copytree(teacher, here / "runs" / "seed-0")
    return Path("runs/seed-0")


def test_formats_are_those_that_exist() -> None:
    assert list(EXPORTS) == list(FORMATS)


def test_export_and_time(run: Path, does: Does, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "MOST", 6)
    printed = does("export", run, "--to", "pt2,safetensors", "--images", 9, "--latency")
    assert "student.pt2" in printed
    assert "batch by 1 by 8 by 8" in printed
    assert "top-1 equal on 100.0 %" in printed
    assert "multiply-adds an image" in printed
    cost = json.loads((run / "cost.json").read_text())
    assert [each["batch"] for each in cost["networks"]["student"]["timings"]][:2] == [1, 32]
    does("report", run)
    assert "batch of 32, cpu" in (run / "report.html").read_text()
    assert {each.name for each in (run / "export").iterdir()} == {
        "export.json",
        "student.pt2",
        "student.safetensors",
    }


def test_every_format_by_one_command(
    run: Path, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights take no bytes, and are written all the same; that is said."""
    with pytest.raises(SystemExit):
        main(["export", str(run), "--to", "safetensors,pt2", "--input", "uint8", "--resize"])
    said = capsys.readouterr()
    assert "safetensors: the weights alone, without --input uint8 and --resize" in said.err
    assert "student.pt2" in said.out
    assert "--to is empty" in refused("export", run, "--to", "")
    Path("site").mkdir()
    Path("site/README.md").write_text("mine")
    assert "no card that relatum wrote" in refused("export", run, "--card", "--out", "site")
    assert [each.name for each in Path("site").iterdir()] == ["README.md"]


def test_report_times_every_run(run: Path, does: Does, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "MOST", 6)
    printed = does("report", "runs", "--latency")
    assert "timed: the networks of 1 run\n" in printed
    assert "batch of 1," in printed
    assert "batch of 1, cpu" in (run / "report.html").read_text()


def test_push_shows_what_would_go(run: Path, does: Does) -> None:
    pytest.importorskip("huggingface_hub")
    printed = does("push", run, "me/student", "--dry-run", "--private", "--license", "mit")
    files, card = printed.split("\nREADME.md:\n\n")
    assert re.search(r"^student\.safetensors  [\d.]+ kB$", files, re.MULTILINE)
    assert card.startswith("---\n")
    assert "license: mit" in card
    assert "# digits-cnn-large on digits" in card
    assert card.endswith("\nnothing was sent; it would go to me/student, private\n")


def test_what_is_refused(
    run: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "get_token", lambda: None)
    assert "the nearest is 'onnx'" in refused("export", run, "--to", "onxx")
    assert "at least 1" in refused("export", run, "--images", 0)
    assert "--input is normalised" in refused("export", run, "--input", "bytes")
    assert "no run and no file" in refused("export", "nowhere")
    weights = run / "student.safetensors"
    alone = shutil.copy(weights, "alone.safetensors")
    assert "give a run's folder" in refused("export", alone, "--card")
    assert "OWNER/NAME" in refused("push", run, "student")
    assert "HF_TOKEN" in refused("push", run, "me/student")
    assert "give a run's folder" in refused("push", alone, "me/student", "--dry-run")
