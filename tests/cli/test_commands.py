"""Every command doing what it is for."""

import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from PIL import Image

from relatum.cli import main
from relatum.data import Resident
from relatum.datasets import Dataset
from relatum.models.resnet import resnet14
from relatum.record import Record
from tests.cli import shell

Does = Callable[..., str]
QUICK = ("--epochs", 1, "--seed", 0, "--out", "out")


@pytest.mark.parametrize(
    "verb", ["distill", "teach", "transfer", "evaluate", "reproduce", "list", "report"]
)
def test_help_of_every_command(does: Does, verb: str) -> None:
    assert f"Usage: relatum {verb}" in does(verb, "--help")
    assert does(verb, "-h") == does(verb, "--help")


def test_alone_it_shows_its_help(does: Does) -> None:
    assert does() == does("--help")
    assert does("--version").startswith("relatum ")


def test_list(does: Does) -> None:
    assert "rrd-2024" in does("list", "methods")
    assert "resnet8x4" in does("list", "models")
    assert "folder:PATH" in does("list", "datasets")
    assert "reproduce rrkd/mnist-autoencoder" in does("list", "recipes")


def test_teach_evaluate_report(here: Path, does: Does) -> None:
    assert "--teacher out" in does("teach", *QUICK, "--set", "validation=0.2")
    metrics = Record.load(here / "out").metrics
    printed = does("evaluate", "out")
    assert printed.startswith("on 359 test images of digits:\ntop-1")
    assert re.search(rf"^top-1 +{metrics['top1']:.2f} %$", printed, re.MULTILINE)
    found = json.loads(does("evaluate", "out", "--json", "--probe", "linear,knn"))
    assert found["top1"] == metrics["top1"]
    assert {"probe", "knn"} <= set(found)
    best = json.loads(does("evaluate", "out", "--json", "--best"))
    assert best["top1"] == metrics["best_top1"]
    (here / "out" / "report.html").unlink()
    assert "report: out/report.html" in does("report", "out")
    assert (here / "out" / "report.html").exists()


def test_distill_with_an_own_loss(
    here: Path, teacher: Path, does: Does, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss of one's own beside a named one, run again from its recipe, measured from afar."""
    (here / "my_own_file.py").write_text(
        "from torch import nn\n"
        "class MyLoss(nn.Module):\n"
        "    def __init__(self, student_dim, teacher_dim):\n"
        "        super().__init__()\n"
        "        self.head = nn.Linear(student_dim, teacher_dim)\n"
        "    def forward(self, student, teacher):\n"
        "        return (self.head(student) - teacher).square().mean()\n"
    )
    method = "sp=3000+my_own_file:MyLoss@embedding=2"
    printed = does("distill", "--teacher", teacher, "--method", method, *QUICK)
    assert "report: out/report.html" in printed
    folder = here / "out" / "sp=3000+my_own_file-MyLoss@embedding=2" / "seed-0"
    record = Record.load(folder)
    assert set(record.rows[0].losses) == {"ce", "sp", "MyLoss"}
    assert "agreement" in record.metrics
    does("distill", "--recipe", folder / "recipe.json", "--out", "again")
    again = next((here / "again").rglob("student.safetensors"))
    assert again.read_bytes() == (folder / "student.safetensors").read_bytes()
    before = json.loads(does("evaluate", folder, "--json"))
    monkeypatch.chdir("/")
    assert json.loads(does("evaluate", folder, "--json")) == before


def test_a_run_measured_from_elsewhere(
    here: Path, does: Does, refused: Does, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher's folder is relative in the recipe, and is found around the run."""
    does("distill", "--method", "kd", "--no-baseline", *QUICK)
    before = json.loads(does("evaluate", "out/kd/seed-0", "--json"))
    (here / "out").rename(here / "moved")
    assert json.loads(does("evaluate", "moved/kd/seed-0", "--json")) == before
    monkeypatch.chdir("/")
    assert json.loads(does("evaluate", here / "moved/kd/seed-0", "--json")) == before
    (here / "moved/teacher/student.safetensors").write_bytes(
        (here / "moved/kd/seed-0/student.safetensors").read_bytes()
    )
    assert "not the teacher" in refused("evaluate", here / "moved/kd/seed-0")


def images(folder: Path, *names: str) -> None:
    """Twenty noisy pictures, in each of these subfolders."""
    generator = torch.Generator().manual_seed(0)
    for place, name in enumerate(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(20):
            pixels = torch.randint(0, 128, (16, 12, 3), generator=generator) + 100 * place
            picture = Image.fromarray(pixels.to(torch.uint8).numpy())
            picture.save(folder / name / f"{number}.png")


SMALL = ("--student", "resnet8", "--set", "image_size=16", "--set", "batch_size=8")


def test_a_folder_of_classes(here: Path, does: Does) -> None:
    images(here / "pets", "cats", "dogs")
    arguments = ("--data", "./pets", "--teacher", "resnet14", "--method", "rrkd", *SMALL, *QUICK)
    does("distill", *arguments)
    records = [Record.load(path.parent) for path in sorted((here / "out").rglob("record.json"))]
    assert [record.label for record in records] == ["none", "rrkd", "teacher"]
    assert all(record.classes == ("cats", "dogs") for record in records)
    assert all("top1" in record.metrics for record in records)


def test_a_folder_without_labels(here: Path, does: Does) -> None:
    """The practitioner's case: photos, and the weights of a big network for other classes."""
    images(here / "photos", "")
    (here / "net.py").write_text(
        "from relatum.models.resnet import resnet14\ndef make(): return resnet14(3, classes=5)\n"
    )
    torch.save(resnet14(3, classes=5).state_dict(), here / "big.pt")
    source = ("--data", "photos/", "--teacher", "net.py:make@big.pt")
    does("distill", *source, "--method", "rrkd", *SMALL, *QUICK)
    record = Record.load(here / "out" / "rrkd" / "seed-0")
    assert record.classes == ()
    assert "top1" not in record.metrics
    assert "gap_cosine" in record.metrics
    assert not (here / "out" / "none").exists()  # there is nothing that it could learn from


def test_piped_output_is_plain(tmp_path: Path) -> None:
    process = shell.call("distill", "--method", "kd", "--no-baseline", *QUICK, cwd=tmp_path)
    assert process.returncode == 0
    assert "\x1b" not in process.stdout + process.stderr
    assert "report: out/report.html" in process.stdout
    first, second = process.stderr.splitlines()
    assert first.startswith("[1/2] teacher (seed 0): top-1 ")
    assert second.startswith("[2/2] kd (seed 0): top-1 ")


def test_bars_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = shell.start(
        *("teach", "--epochs", 5, "--out", "out"), cwd=tmp_path, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # Linux's way to say that the other end is closed
        pass
    os.close(ours)
    assert process.wait(shell.PATIENCE) == 0
    text = shown.decode()
    assert "━" in text
    assert "/110" in text  # steps, of 22 an epoch
    assert "teacher (seed 0): top-1" in text
    assert "\x1b[?25h" in text  # the cursor is given back


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    command = f"{' '.join(shell.COMMAND)} list models | head -1"
    process = subprocess.run(
        command, shell=True, capture_output=True, text=True, env=shell.ENVIRONMENT, check=True
    )
    assert process.stdout.count("\n") == 1
    assert process.stderr == ""


def test_interrupted_before_there_is_anything_to_save(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(text: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("relatum.cli.options.device_of", interrupt)
    with pytest.raises(SystemExit) as stopped:
        main(["distill"])
    assert stopped.value.code == 130
    assert capsys.readouterr().err.startswith("relatum: interrupted")


def test_an_output_that_knows_few_characters(
    here: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    shutil.copytree(teacher, here / "run")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    with pytest.raises(SystemExit) as stopped:
        main(["report", "run"])
    assert stopped.value.code == 0
    assert b"report: run/report.html" in written.getvalue()


def tiny_mnist(name: str, **asked: object) -> Dataset:
    """Thirty pictures of each of ten classes, which differ in where they are bright."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 10
    pixels = torch.randint(0, 60, (300, 1, 28, 28), generator=generator)
    pixels[torch.arange(300), 0, 2 * labels + 2] += 180
    part = Resident(pixels.to(torch.uint8), labels)
    return Dataset(name, part, part, tuple("0123456789"), (0.5,), (0.5,), "made up")


@pytest.mark.parametrize("experiment", ["supervised", "anchors"])
def test_reproduce(
    here: Path, does: Does, monkeypatch: pytest.MonkeyPatch, experiment: str
) -> None:
    """The authors' variants on a made-up set, at a twentieth of their epochs."""
    module: Mapping[str, object] = vars(sys.modules["relatum.run.sets"])
    monkeypatch.setitem(module, "load", tiny_mnist)
    monkeypatch.setitem(module, "_loaded", {})
    name = f"rrkd/mnist-{experiment}"
    arguments = ("--variant", "authors", "--seed", 42, "--scale", 0.05, "--out", "out")
    printed = does("reproduce", name, *arguments)
    assert "(scale 0.05)" in printed
    assert "report: out/report.html" in printed
    assert (here / "out" / "table.md").read_text() in printed
    record = Record.load(next((here / "out" / "teacher").glob("seed-42")))
    assert record.recipe.epochs == 1
    assert does("reproduce", name, *arguments, "--resume") == printed
