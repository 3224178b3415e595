"""The command in this process, where that is enough, and a teacher to learn from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from relatum.cli import main
from relatum.recipes.standard import standard
from relatum.run import run

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Call the command, which must answer with one line and exit code 2; the line."""

    def call(*arguments: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(each) for each in arguments])
        said = capsys.readouterr()
        lines = said.err.splitlines()
        assert stopped.value.code == 2, said
        assert said.out == ""
        assert len(lines) == 1, said.err
        assert lines[0].startswith("relatum: ")
        return lines[0].removeprefix("relatum: ")

    return call


@pytest.fixture
def does(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Call the command, which must succeed; what it printed."""

    def call(*arguments: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(each) for each in arguments])
        said = capsys.readouterr()
        assert stopped.value.code == 0, said.err
        return said.out

    return call


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on the digits, one epoch long."""
    folder = tmp_path_factory.mktemp("taught") / "teacher"
    run(standard("digits")[0].but(epochs=1), folder, label="teacher")
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
