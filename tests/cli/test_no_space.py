"""No space left on the device: one line, and what was written before is whole."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relatum.cli import main

SIZE = 2 * 1024 * 1024


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mount was refused: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path, leave: int = 0) -> None:
    """Use up the space, but for so many bytes."""
    status = os.statvfs(place)
    (place / "filler").write_bytes(bytes(status.f_bavail * status.f_frsize - leave))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("leave", [0, 8192, 65536, 131072])
def test_no_space_for_a_run(
    small: Path, refused: Callable[..., str], does: Callable[..., str], leave: int
) -> None:
    """Wherever it runs out: the recipe, the rows, the checkpoint, the weights or the report."""
    does("teach", "--epochs", 1, "--out", small / "first")
    before = contents(small / "first")
    second = ("--epochs", 1, "--seed", 1, "--out", small / "second")
    fill(small, leave)
    assert "No space left on device" in refused("teach", *second)
    assert contents(small / "first") == before
    assert not list(small.rglob(".*.[0-9]*"))  # nothing half written is left
    (small / "filler").unlink()
    does("teach", *second, "--resume")
    assert (small / "second" / "record.json").exists()


FILLS = """
import os
from torch import nn

class Fills(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, student, teacher):
        self.steps += self.training
        if self.steps == 30 and os.path.exists("now"):
            status = os.statvfs("small")
            with open("small/filler", "wb") as file:
                file.write(bytes(status.f_bavail * status.f_frsize))
        return student.square().mean()
"""


def test_space_runs_out_in_training(
    small: Path,
    teacher: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In the second epoch: the first one's row stays, and the run goes on when there is space."""
    monkeypatch.chdir(small.parent)
    (small.parent / "fills.py").write_text(FILLS)
    (small.parent / "now").touch()
    arguments = ["distill", "--teacher", str(teacher), "--epochs", "3", "--seed", "0"]
    arguments += ["--method", "fills.py:Fills", "--no-baseline", "--out", "small/out"]
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    said = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2
    assert [line for line in said if "No space left on device" in line] == said
    rows = (small / "out/fills.py-Fills/seed-0/metrics.jsonl").read_text()
    assert rows.startswith('{"stage": 0, "epoch": 1,')
    (small / "filler").unlink()
    (small.parent / "now").unlink()
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--resume"])
    assert stopped.value.code == 0
