"""What is said of a run while it goes on."""

import pytest

from relatum.cli import display
from relatum.cli.display import Lines, validated
from relatum.record import Row

ROW = Row(
    epoch=3,
    learning_rate=0.1,
    losses={"sp": 0.25},
    metrics={
        "validation_gap_cosine": 0.1234,
        "validation_neighbours": 51.26,
        "gradient_norm_sp@maps": 2.0,
        "test_top1": 99.0,
    },
    steps=1,
    samples=1,
    seconds=1.0,
)


def test_what_was_measured_on_the_validation_part_is_said() -> None:
    assert validated(ROW) == ["neighbours 51.3 %", "gap 0.123"]
    assert validated(ROW.model_copy(update={"metrics": {}})) == []


def test_a_plain_line_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(display, "PLAIN_EVERY", -1.0)
    lines = Lines(1)
    lines.begin("sp", 10, 0)
    lines.epoch(ROW, 5)
    told = capsys.readouterr().err
    assert told == "sp: epoch 3 of 5, sp 0.25, neighbours 51.3 %, gap 0.123\n"
