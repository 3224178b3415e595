"""What Markdown does not know of our docstrings and pages: formulas and examples.

An extension of Python-Markdown, named in mkdocs.yml. Formulas become MathML while the site is
built: browsers draw that by themselves, so no script and no font is loaded for them.
"""

import re
from collections.abc import Iterator

from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor
from math_core import LatexToMathML

MATHML = LatexToMathML()
BAR = "\u0332"
"""The line below that math_core takes for \\overline: fonts draw it below, where it is no mean."""
BEFORE_FENCES = 26  # superfences takes the blocks of code at 25
BEFORE_CODE = 195  # `code` is found at 190
BEFORE_ESCAPES = 185  # after code, where a dollar is a shell's; backslashes are read at 180
DOLLARS = r"(?<![\\\w$])\$(?!\s)([^$\n]+?)(?<!\s)\$(?![\w$])"
FENCE = re.compile(r"\s*(`{3,}|~{3,})")


class Formulas(Extension):
    """Formulas as MathML, and ``>>>`` as a block of Python with its output.

    In docstrings formulas are ``.. math::`` and ``:math:``, in pages ``$...$`` within a line.
    """

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - Markdown's own name
        """Take part in how ``md`` reads a text."""
        md.preprocessors.register(_Blocks(md), "docstring_blocks", BEFORE_FENCES)
        md.inlinePatterns.register(_Inline(r":math:`([^`]+)`", md), "docstring_math", BEFORE_CODE)
        md.inlinePatterns.register(_Inline(DOLLARS, md), "dollar_math", BEFORE_ESCAPES)


def makeExtension(**settings: object) -> Formulas:  # noqa: N802 - what Markdown calls
    """For Markdown, which finds extensions by the name of their module."""
    return Formulas(**settings)


def mathml(formula: str, *, block: bool) -> str:
    r"""A formula in LaTeX as MathML.

    Example:
        >>> mathml(r"\tau^2", block=False)
        '<math><msup><mi>τ</mi><mn>2</mn></msup></math>'
    """
    made = MATHML.convert_with_local_state(formula, displaystyle=block)
    return made.replace(f'<mo stretchy="true">{BAR}</mo>', '<mo stretchy="true">\u203e</mo>')


class _Inline(InlineProcessor):
    def handleMatch(  # noqa: N802 - Markdown's own name
        self, m: re.Match[str], data: str
    ) -> tuple[str, int, int]:
        return self.md.htmlStash.store(mathml(m[1], block=False)), m.start(0), m.end(0)


class _Blocks(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        return list(self._changed(lines))

    def _changed(self, lines: list[str]) -> Iterator[str]:
        place, fence = 0, ""
        while place < len(lines):
            line = lines[place]
            if found := FENCE.match(line):
                fence = "" if fence and found[1].startswith(fence) else fence or found[1]
            if not fence and line.strip() == ".. math::":
                taken = _deeper(lines, place)
                made = mathml("\n".join(lines[place + 1 : taken]).strip(), block=True)
                stored = self.md.htmlStash.store(f'<div class="formula">{made}</div>')
                yield from ("", stored, "")
            elif not fence and line.lstrip().startswith(">>> "):
                taken = _until_empty(lines, place)
                indent = line[: len(line) - len(line.lstrip())]
                yield from ("", f"{indent}```pycon", *lines[place:taken], f"{indent}```", "")
            else:
                taken = place + 1
                yield line
            place = taken


def _deeper(lines: list[str], head: int) -> int:
    """Where the lines end that are further in than the one at ``head``."""
    indent = len(lines[head]) - len(lines[head].lstrip())
    place = head + 1
    while place < len(lines):
        line = lines[place]
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        place += 1
    return place


def _until_empty(lines: list[str], start: int) -> int:
    rest = range(start, len(lines))
    return next((place for place in rest if not lines[place].strip()), len(lines))
