"""Images that are looked through: a bar on a terminal, a line now and then elsewhere."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from relatum.cli import reading
from relatum.how_far import heard_by, told


def test_a_plain_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 29.0, 31.0, 40.0, 62.0, 99.0])
    monkeypatch.setattr(reading, "monotonic", lambda: next(clock))
    with heard_by(reading.by_itself), told("decoding photos", 4000) as advance:
        for many in (900, 100, 500, 1500, 1000):
            advance(many)
    assert capsys.readouterr().err.splitlines() == [
        "decoding photos: 1,000 of 4,000, about 1 min 33 s left",
        "decoding photos: 3,000 of 4,000, about 20.7 s left",
    ]


def test_one_process_of_a_training_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "PLAIN_EVERY", -1.0)
    for rank, lines in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        with heard_by(reading.by_itself), told("decoding", 10) as advance:
            advance(5)
        assert len(capsys.readouterr().err.splitlines()) == lines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_drawn_when_it_takes_long_and_is_gone_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for soon, drawn in ((-1.0, True), (60.0, False)):
        monkeypatch.setattr(reading, "SOON", soon)
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        with heard_by(reading.by_itself), told("decoding photos", 10) as advance:
            advance(5)
        said = terminal.getvalue()
        assert ("decoding photos" in said and "5/10" in said) == drawn
        assert said.endswith("\x1b[2K") == drawn  # the line is wiped


def test_it_is_one_more_bar_where_some_are_drawn() -> None:
    progress = Progress(TextColumn("{task.description}"), console=Console(file=io.StringIO()))
    with heard_by(reading.among(progress)), told("decoding photos", 10) as advance:
        advance(4)
        (task,) = progress.tasks
        assert (task.description, task.completed, task.total) == ("decoding photos", 4, 10)
    assert not progress.tasks


def test_it_is_the_words_of_a_spinner_that_turns() -> None:
    status = Console(file=io.StringIO()).status("looking …")
    with heard_by(reading.beside(status)), told("checking photos", 5000) as advance:
        advance(1200)
        assert status.status == "checking photos: 1,200 of 5,000"
    assert status.status == "looking …"
