"""The usual methods, where nobody named any: those that the pair can have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relatum.cli import main, training
from relatum.models import create
from relatum.weights import save_state
from tests.cli.shell import contents

SHORT = ("--seeds", "1", "--epochs", "0", "--set", "samples=150", "--out", "out")


@pytest.fixture
def strange(here: Path) -> str:
    """The weights of a network that tells other classes apart."""
    network = create("digits-cnn-large", channels=1, size=8, classes=7)
    about = {"model": "digits-cnn-large", "channels": "1", "size": "8", "classes": "7"}
    save_state(network.state_dict(), here / "seven.safetensors", about)
    return "digits-cnn-large@seven.safetensors"


def test_what_the_pair_cannot_have_is_left_out(
    strange: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels: list[str] = []

    def train(cells: Any, *rest: Any, **others: Any) -> Any:
        labels.extend(cell.label for cell in cells)
        return [], []

    monkeypatch.setattr(training, "train", train)
    with pytest.raises(SystemExit) as ended:
        main(["distill", "--teacher", strange, *SHORT])
    said = capsys.readouterr().err
    assert ended.value.code == 0, said
    assert "kd is left out: kd compares logits over the same classes: here the student" in said
    assert labels == ["none", "sp", "rrkd", "rrd"]


def test_what_was_asked_for_is_refused(
    here: Path, strange: str, refused: Callable[..., str]
) -> None:
    before = contents(here)
    line = refused("distill", "--teacher", strange, "--method", "kd", *SHORT)
    assert "10 logits and the teacher 7 logits; leave kd out, or train" in line
    assert "relatum teach" in line
    assert contents(here) == before
