import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes what the user keeps in ``~/.cache/relatum``."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("RELATUM_DATA", raising=False)
    return folder


@pytest.fixture
def real() -> Path:
    """A folder with the true sets, where there is one."""
    named = os.environ.get("RELATUM_TEST_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("RELATUM_TEST_DATA names no folder with mnist/, cifar100/ and photos/")
    return Path(named)
