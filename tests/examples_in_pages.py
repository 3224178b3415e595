"""Blocks of code in Markdown, and what runs them."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from relatum.cli import main

FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<tag>.*)")
MARK = re.compile(r"\s*<!-- (?P<what>not run|long|file): (?P<said>.+) -->")
SHELL = ("sh", "bash", "console")
PLAIN = re.compile(r"[\w\s./:=,+@'-]+")
"""A command that needs no shell: no variable, pattern, pipe or quotes other than simple ones."""
SECONDS = 300
BIN = str(Path(sys.executable).parent)


class Example(NamedTuple):
    """A fenced block.

    Attributes:
        tag: what stands behind the fence.
        line: of the fence.
        code: its text without indentation.
        what: "not run", "long" or "file", as a comment before it says; empty without one.
        said: why, or which file.
    """

    tag: str
    line: int
    code: str
    what: str = ""
    said: str = ""


def examples(text: str) -> Iterator[Example]:
    """Every fenced block, with what the comment before it says."""
    fence: re.Match[str] | None = None
    mark: re.Match[str] | None = None
    start, code = 0, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        found = FENCE.fullmatch(line)
        if fence is None:
            if found:
                fence, start, code = found, number, []
            else:
                mark = MARK.fullmatch(line) or (mark if not line.strip() else None)
        elif found and not found["tag"].strip() and found["ticks"].startswith(fence["ticks"]):
            told = (mark["what"], mark["said"]) if mark else ("", "")
            yield Example(fence["tag"].strip(), start, "\n".join(code) + "\n", *told)
            fence = mark = None
        else:
            code.append(line[min(len(fence["indent"]), len(line) - len(line.lstrip())) :])
    assert fence is None, f"the block that starts at line {start} does not end"


def commands(example: Example) -> list[str]:
    """The lines of a block of shell: continued ones joined, comments and output left out."""
    joined = re.sub(r"\\\n\s*", "", example.code)
    lines = [re.sub(r"(^|\s+)# .*$", "", line).strip() for line in joined.splitlines()]
    if example.tag == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line for line in lines if line and not line.startswith("#")]


def run_python(example: Example, folder: Path) -> None:
    """A block of Python, by itself; an error names the line of the page."""
    file = folder / f"line_{example.line}.py"
    file.write_text("\n" * example.line + example.code, encoding="utf-8")
    if example.what == "file":
        (folder / example.said).write_text(example.code, encoding="utf-8")
    with torch.random.fork_rng(devices=[]):
        runpy.run_path(str(file), run_name="__main__")


def run_shell(example: Example, folder: Path) -> None:
    """A block of shell, line by line; plain lines of the command run in this process."""
    for command in commands(example):
        if command.startswith("relatum ") and PLAIN.fullmatch(command):
            code = _exit_code(shlex.split(command)[1:])
            assert not code, f"line {example.line}: {command}: exit code {code}"
        else:
            paths = os.pathsep.join([BIN, os.environ.get("PATH", "")])
            done = subprocess.run(
                ["bash", "-euc", command],
                cwd=folder,
                env={**os.environ, "PATH": paths},
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
            assert done.returncode == 0, f"line {example.line}: {command}: {done.stderr[-2000:]}"


def _exit_code(arguments: list[str]) -> object:
    try:
        main(arguments)
    except SystemExit as end:
        return end.code
    return 0
