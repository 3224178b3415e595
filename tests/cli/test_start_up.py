"""What needs no torch waits for none: help, lists, and options that are wrong by their text."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from relatum.cli import app
from relatum.cli.known import FILE, SETS, known
from relatum.datasets import DATASETS
from relatum.grammar import split
from relatum.methods import METHODS
from tests.cli.shell import ENVIRONMENT

ROOT = Path(__file__).parents[2]
VERBS = [each.name or getattr(each.callback, "__name__", "") for each in app.registered_commands]
KINDS = ("methods", "models", "pairs", "datasets", "recipes")
TOLD = ["", "--help", "--version", *(f"{verb} --help" for verb in VERBS)]
TOLD += [*(f"list {kind}" for kind in KINDS), "list methods sp", "list models resnet"]
REFUSED = [
    "distil",
    "distill --sed 1",
    "distill --epochs two",
    "distill --epochs -1",
    "distill --method spp",
    "distill --method sp=heavy",
    "distill --method sp,sp",
    "distill --data minst",
    "distill --student digts-cnn-small",
    "distill --teacher resnet9",
    "distill --seeds x",
    "distill --seed -3",
    "distill --seed 99999999999999999999",
    "distill --precision float16",
    "distill --scale 2",
    "distill --set rate",
    "distill --set learning_rat=1",
    "distill --set learning_rate=fast",
    "distill --resume --overwrite",
    "distill --recipe nowhere.json",
    "teach --model resnte8",
    "transfer runs --to stl11",
    "evaluate",
    "reproduce rrkd/mnist",
    "bench minst",
    "bench digits --methods kd,spp",
    "list",
    "list modles",
    "list methods spp",
    "list models resnet21",
]
CODE = """
import contextlib, io, json, sys
from relatum.cli import main
found = []
for line in json.load(sys.stdin):
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            main(line.split())
        except SystemExit as stopped:
            code = stopped.code
    heavy = sorted({"torch", "numpy", "scipy", "sklearn", "matplotlib"} & set(sys.modules))
    found.append([line, code, heavy, len(out.getvalue()) > 0, len(error.getvalue().splitlines())])
print(json.dumps(found))
"""


def answers(lines: list[str], cwd: Path) -> list[list[object]]:
    """Exit code, heavy modules that are there, whether something was said, lines of complaint."""
    process = subprocess.run(
        [sys.executable, "-c", CODE],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
        env=ENVIRONMENT,
    )
    found: list[list[object]] = json.loads(process.stdout)
    return found


def test_what_is_told_imports_no_torch(tmp_path: Path) -> None:
    assert answers(TOLD, tmp_path) == [[line, 0, [], True, 0] for line in TOLD]


def test_what_is_misspelt_is_refused_before_torch(tmp_path: Path) -> None:
    assert answers(REFUSED, tmp_path) == [[line, 2, [], False, 1] for line in REFUSED]
    assert list(tmp_path.iterdir()) == []


def test_training_does_import_it(tmp_path: Path) -> None:
    """So that the two tests above can fail."""
    (only,) = answers(["distill --method sp@nothing"], tmp_path)
    heavy = only[2]
    assert isinstance(heavy, list)
    assert "torch" in heavy


def test_the_digits_are_trained_on_without_what_nobody_asked_for(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from torch.optim.optimizer import register_optimizer_step_post_hook as after\n"
        "from relatum.cli import main\n"
        "def stop(*_):\n"
        "    print(sorted({'sklearn', 'scipy', 'torchvision', 'matplotlib'} & set(sys.modules)))\n"
        "    raise SystemExit(0)\n"
        "after(stop)\n"
        "main(['distill', '--out', 'out'])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
        check=False,
    )
    assert process.stdout.splitlines()[-1:] == ["[]"], process.stderr


@pytest.fixture(scope="module")
def made() -> dict[str, object]:
    return runpy.run_path(str(ROOT / "docs" / "make_methods.py"))


def test_the_names_are_the_code(made: dict[str, object]) -> None:
    names, text = made["names"], made["text"]
    assert callable(names)
    assert callable(text)
    written = FILE.read_text(encoding="utf-8")
    assert written == text(names()), "run: python docs/make_methods.py"


def test_every_command_is_summed_up_on_a_line() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "relatum", "--help"],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "COLUMNS": "80"},
        check=True,
    ).stdout
    lines = shown.partition("Commands:")[2].splitlines()
    assert len([each for each in lines if each.strip()]) == len(VERBS)
    assert not [each for each in lines if each.endswith("...")]


def test_sets_are_those_that_exist() -> None:
    assert list(SETS) == list(DATASETS)


@pytest.mark.parametrize("text", ["sp=3000+kd", "kd,rrd,sp@embedding=2", "mine.py:Loss,none"])
def test_what_is_right_is_read_as_ever(text: str) -> None:
    from relatum import method_names

    families = {name: each["family"] for name, each in known()["methods"].items()}
    assert families == {name: method.family for name, method in METHODS.items()}
    assert method_names.split(text, families) == split(text)
