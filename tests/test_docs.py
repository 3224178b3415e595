"""Every Python example of README.md and docs/ runs as it stands, by itself, on the CPU."""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("README.md"), *sorted(ROOT.glob("docs/**/*.md"))]
FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<tag>.*)")


class Example(NamedTuple):
    tag: str
    line: int
    code: str


def examples(text: str) -> Iterator[Example]:
    """Every fenced block: its tag, the line of its fence, and its text without indentation."""
    fence: re.Match[str] | None = None
    start, code = 0, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        found = FENCE.fullmatch(line)
        if fence is None:
            if found:
                fence, start, code = found, number, []
        elif found and not found["tag"].strip() and found["ticks"].startswith(fence["ticks"]):
            yield Example(fence["tag"].strip(), start, "\n".join(code) + "\n")
            fence = None
        else:
            code.append(line[min(len(fence["indent"]), len(line) - len(line.lstrip())) :])
    assert fence is None, f"the block that starts at line {start} does not end"


FOUND = [
    pytest.param(example, id=f"{page.relative_to(ROOT)}:{example.line}")
    for page in PAGES
    for example in examples(page.read_text(encoding="utf-8"))
    if re.match(r"\W*py", example.tag, re.IGNORECASE)
]


@pytest.mark.parametrize("example", FOUND)
def test_example_runs(example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert example.tag == "python", "the tag is 'python' and no more: every example runs"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(tmp_path)
    # The lines before it are left empty, so an error names the line of the page.
    file = tmp_path / "example.py"
    file.write_text("\n" * example.line + example.code, encoding="utf-8")
    with torch.random.fork_rng(devices=[]):
        runpy.run_path(str(file), run_name="__main__")


def test_the_readme_shows_an_example() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert any(example.tag == "python" for example in examples(readme))


def test_examples_are_found() -> None:
    text = "a\n```python\nx = 1\n```\n1. b\n   ````py skip\n   ```\n   if x:\n       y\n   ````\n"
    assert list(examples(text)) == [
        Example("python", 2, "x = 1\n"),
        Example("py skip", 6, "```\nif x:\n    y\n"),
    ]
    with pytest.raises(AssertionError, match="line 1 does not end"):
        list(examples("```python\nx = 1\n"))


def test_the_page_of_methods_is_the_code() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_methods.py"))["page"]()
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert page == made, "run: python docs/make_methods.py"
