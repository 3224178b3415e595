"""Every example runs as it stands, offline, on the CPU, and says what it did."""

import ast
import re
import runpy
import socket
import time
from pathlib import Path

import pytest
import torch

from relatum.cli import main
from tests.processes import ran

EXAMPLES = Path(__file__).parents[1] / "examples"
SECONDS = 60
"""That an example may take, on a machine that is busy."""
SAYS = {
    "anchors.py": r"related to the same 100\n(epoch \d: rrkd 0\.\d+ in .* s\n){3}",
    "huggingface_trainer.py": r"(step \d: loss \d+\.\d+\n){4}saved by its own names\n",
    "lightning_module.py": r"validation_top1 \d+\.\d %; the checkpoint holds no teacher\n",
    "own_loss.py": r"loss 0\.\d+; gradient of length 0\.\d+ to the student\n.*: 0\.0000\n",
    "plain_loop.py": r"(step \d: loss \d+\.\d+\n){8}",
    "readme.py": r"1 {'sp': \d.*, 'rrkd': \d.*}\n",
    "several_processes.py": r"(step \d: loss \d+\.\d{6}\n){5}",
    "unlabelled_images.py": r"nothing teaches fc.weight, fc.bias\n(epoch \d: rrkd 0\..*\n){4}stud",
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an example went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)


def test_every_example_is_run() -> None:
    assert {file.name for file in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_example_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if name == "plain_loop.py":
        pytest.importorskip("timm")
    if name == "huggingface_trainer.py":
        pytest.importorskip("transformers")
        pytest.importorskip("accelerate")
    if name == "lightning_module.py":
        pytest.importorskip("lightning")
    began = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    assert time.perf_counter() - began < SECONDS
    said = capsys.readouterr().out
    assert re.search(SAYS[name], said), said
    losses = [float(each) for each in re.findall(r"^\w+ \d: \w+ ([\d.]+)", said, re.MULTILINE)]
    assert not losses or losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", SAYS)
def test_it_is_short_and_says_what_it_shows(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    assert ast.get_docstring(ast.parse(text))


def test_a_loss_of_ones_own_goes_through_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    method = f"{EXAMPLES / 'own_loss.py'}:MyLoss@embedding=10"
    flags = ["--epochs", "1", "--seeds", "1", "--no-baseline", "--out", "here"]
    with torch.random.fork_rng(devices=[]), pytest.raises(SystemExit) as ended:
        main(["distill", "--method", method, *flags])
    torch.set_num_threads(threads)
    assert ended.value.code == 0
    assert "MyLoss" in capsys.readouterr().out
    (record,) = Path("here").glob("*/seed-0/record.json")
    assert '"MyLoss"' in record.read_text(encoding="utf-8")


def test_several_processes_say_what_one_says(capsys: pytest.CaptureFixture[str]) -> None:
    file = str(EXAMPLES / "several_processes.py")
    with torch.random.fork_rng(devices=[]):
        runpy.run_path(file, run_name="__main__")
    alone = [float(each) for each in re.findall(r"loss (\S+)", capsys.readouterr().out)]
    said = ran(file, torchrun=2)
    together = [float(each) for each in re.findall(r"loss (\S+)", said)]
    assert len(alone) == 5
    assert together == pytest.approx(alone, rel=1e-4)
