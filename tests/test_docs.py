"""Every example of README.md and docs/ runs as it stands, on the CPU, or says why it does not.

Blocks tagged ``python`` and ``sh`` run. Those of a tutorial run one after the other in one folder,
as its reader runs them; elsewhere a block of Python runs by itself, and those of shell of a page
run in one folder. A comment before a block changes that:

- ``<!-- not run: REASON -->``: its commands are only looked at: do they and their options exist?
- ``<!-- long: REASON -->``: it runs where RELATUM_TEST_LONG says so, and is looked at elsewhere;
- ``<!-- file: NAME -->``: it runs, and is saved as the page says.
"""

import os
import re
import runpy
import shlex
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.main import get_command

from relatum.cli import app
from relatum.report import embedding_map
from tests.examples_in_pages import (
    SHELL,
    Example,
    commands,
    examples,
    run_python,
    run_shell,
)

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *sorted(ROOT.glob("docs/**/*.md"))]
TUTORIALS = ROOT / "docs" / "tutorials"
LONG = os.environ.get("RELATUM_TEST_LONG") == "1"
SHOWN = ("text", "json", "toml", "yaml", "html", "diff")
"""Tags of what is no program."""
ALL = {page: list(examples(page.read_text(encoding="utf-8"))) for page in PAGES}


def now(example: Example) -> bool:
    """Whether it runs, rather than is looked at."""
    return example.what in ("", "file") or (example.what == "long" and LONG)


def named(page: Path, example: Example) -> str:
    return f"{page.relative_to(ROOT)}:{example.line}"


BY_THEMSELVES = [
    pytest.param(each, id=named(page, each))
    for page, found in ALL.items()
    for each in found
    if page.parent != TUTORIALS and re.match(r"\W*py", each.tag, re.IGNORECASE) and now(each)
]
IN_ORDER = [
    pytest.param(wanted, id=str(page.relative_to(ROOT)))
    for page, found in ALL.items()
    for wanted in [
        [each for each in found if now(each) and (page.parent == TUTORIALS or each.tag in SHELL)]
    ]
    if wanted
]
LOOKED_AT = [
    pytest.param(each, id=named(page, each))
    for page, found in ALL.items()
    for each in found
    if each.tag in SHELL
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty one, on a machine without a GPU, where a page's own files can be imported."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(embedding_map, "ITERATIONS", 250)  # the fewest that t-SNE takes
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("example", BY_THEMSELVES)
def test_example_runs(example: Example, folder: Path) -> None:
    assert example.tag == "python", "the tag is 'python' and no more: every example runs"
    run_python(example, folder)


@pytest.mark.parametrize("wanted", IN_ORDER)
def test_page_runs(wanted: list[Example], folder: Path) -> None:
    for example in wanted:
        if example.tag == "python":
            run_python(example, folder)
        elif example.tag in SHELL:
            run_shell(example, folder)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_block_is_is_said(page: Path) -> None:
    for example in ALL[page]:
        known = example.tag in ("python", *SHELL, *SHOWN)
        assert known, f"line {example.line}: {example.tag!r} is none of python, sh, {SHOWN}"
        idle = example.what in ("not run", "long") and example.tag in SHOWN
        assert not idle, f"line {example.line}: a block of text is not run anyway"


@cache
def known_commands() -> Mapping[str, Any]:
    """The command's own, by name; to make them takes a while, and there are many lines."""
    return get_command(app).commands  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("example", LOOKED_AT)
def test_commands_exist(example: Example) -> None:
    """Whether it runs or not: the command reads every line, and knows all its options."""
    for line in commands(example):
        words = shlex.split(line)
        if "relatum" in words and words[0] in ("relatum", "torchrun", "python"):
            words = words[words.index("relatum") + 1 :]
            words = words[: next((n for n, word in enumerate(words) if word in "|&&;>"), None)]
            command = known_commands().get(words[0])
            assert command is not None, f"{line}: there is no relatum {words[0]}"
            command.make_context(words[0], words[1:])


def test_little_is_not_run() -> None:
    """What is not run is written down here, so that no page hides one more behind a comment."""
    silent = {
        str(page.relative_to(ROOT)): count
        for page, found in ALL.items()
        if (count := sum(each.what == "not run" for each in found))
    }
    assert silent == NOT_RUN


NOT_RUN = {
    "README.md": 6,
    "docs/benchmarks/mnist.md": 1,
    "docs/cached_teacher.md": 1,
    "docs/doctor.md": 1,
    "docs/evaluation.md": 1,
    "docs/integrations.md": 1,
    "docs/models.md": 2,
    "docs/several_devices.md": 3,
    "docs/shipping.md": 2,
    "docs/speed.md": 1,
    "docs/teacher_as_a_table.md": 2,
    "docs/tuning.md": 2,
    "docs/tutorials/photographs.md": 4,
    "docs/your_images.md": 2,
}
"""How many blocks of a page are not run by any test; each says why."""


def test_the_readme_shows_an_example() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert any(example.tag == "python" for example in examples(readme))


def test_examples_are_found() -> None:
    text = (
        "a\n```python\nx = 1\n```\n1. b\n   ````py skip\n   ```\n   if x:\n       y\n   ````\n"
        "<!-- long: an hour -->\n```sh\na \\\n  b  # c\n```\n"
        "<!-- not run: x -->\nc\n```sh\nd\n```\n"
    )
    first, second, third, fourth = examples(text)
    assert first == Example("python", 2, "x = 1\n")
    assert second == Example("py skip", 6, "```\nif x:\n    y\n")
    assert third[3:] == ("long", "an hour")
    assert commands(third) == ["a b"]
    assert fourth.what == "", "a comment counts where it stands right before the block"
    with pytest.raises(AssertionError, match="line 1 does not end"):
        list(examples("```python\nx = 1\n"))


def test_what_fails_is_noticed(folder: Path) -> None:
    run_shell(Example("sh", 1, "relatum --version\ntrue\n"), folder)
    with pytest.raises(AssertionError, match="line 1: relatum list nothing: exit code 2"):
        run_shell(Example("sh", 1, "relatum list nothing\n"), folder)
    with pytest.raises(AssertionError, match="line 1: false"):
        run_shell(Example("sh", 1, "false\n"), folder)
    with pytest.raises(AssertionError, match="there is no relatum nothing"):
        test_commands_exist(Example("sh", 1, "relatum nothing\n"))
    with pytest.raises(Exception, match="nix"):
        test_commands_exist(Example("sh", 1, "relatum distill --nix 3\n"))


def test_the_page_of_methods_is_the_code() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_methods.py"))["page"]()
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert page == made, "run: python docs/make_methods.py"
