"""Own networks are imported where the user names them, and never because a file does."""

import sys
from pathlib import Path

import pytest

from relatum.cli import main
from relatum.export.costs import measure
from relatum.export.source import source_of
from relatum.models import is_own
from relatum.recipes.recipe import Recipe
from relatum.run import run
from relatum.run.again import evaluate_again
from relatum.types import Fault

MAKES = """
from pathlib import Path
from relatum.models import create
Path(__file__).with_suffix(".ran").touch()
def make(channels, size, classes):
    return create("digits-cnn-{size}", channels=channels, size=size, classes=classes)
"""


def test_what_is_own_code() -> None:
    own = ("net.py:make", "my.net:make", "simkd(resnet8,net:make)", "net.py:make:pretrained")
    others = ("resnet8", "timm/resnet18:pretrained", "timm/hf-hub:a/b", "simkd(resnet8,resnet14)")
    assert all(map(is_own, own))
    assert not any(map(is_own, others))


def test_a_record_does_not_say_which_code_is_run(
    recipe: Recipe, taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = []
    for kind in ("small", "large"):
        (tmp_path / f"{kind}.py").write_text(MAKES.replace("{size}", kind))
        names.append(f"{tmp_path / kind}.py:make")
    student, teacher = names
    whole = recipe.but(student=student, teacher=f"{teacher}@{taught}", method="kd", epochs=1)
    out = tmp_path / "run"
    record = run(whole, out)
    for kind in ("small", "large"):
        (tmp_path / f"{kind}.ran").unlink()
        del sys.modules[str((tmp_path / f"{kind}.py").resolve())]
    with pytest.raises(Fault) as refused:
        evaluate_again(out)
    assert f"trust it: {student},{teacher}@{out}" in str(refused.value)
    with pytest.raises(Fault, match=r"names .*large\.py:make, and a file"):
        evaluate_again(out, own_code=(student,))
    with pytest.raises(Fault, match="not of math:floor"):
        evaluate_again(out, own_code=(student, teacher, "math:floor"))
    assert not list(tmp_path.glob("*.ran"))
    _, notes = measure(source_of(f"{student}@{out}"), seconds=0.01)
    assert "may not say which code" in notes[0]
    assert not (tmp_path / "large.ran").exists()
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", f"{student},{teacher}@{out}"])
    assert ended.value.code == 0
    assert f"top-1 {record.metrics['top1']:.2f} %" in " ".join(capsys.readouterr().out.split())
