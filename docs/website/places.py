"""Where a file of the repository is found on the site, and links that lead there."""

import os
import re
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath

PAGES = {
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "docs": "index.md",
    "docs/decisions": "decisions/index.md",
}
"""Those that lie elsewhere on the site than in docs/."""
LINK = re.compile(r"(?P<head>!?\[(?:[^\]\[]|\[[^\]]*\])*\])\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r" *(`{3,}|~{3,})")
SHOWN = "files"
"""Where files of code are shown that pages link to."""


class DeadLink(Exception):
    """A page names a file that is not there."""


class Places:
    """Finds for every file that a page links to its page on the site.

    Attributes:
        root: of the repository.
        shown: files and folders that are no pages, and get one because somebody links to them.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shown: set[str] = set()

    def of(self, file: str) -> str:
        """The site's page or picture for a file or folder of the repository.

        Raises:
            DeadLink: there is no such file.
        """
        path = self.root / file
        if not path.exists():
            raise DeadLink(f"{file}: there is no such file")
        if file in PAGES:
            return PAGES[file]
        if file.startswith("docs/") and path.is_file() and path.suffix != ".py":
            return file.removeprefix("docs/")
        self.shown.add(file)
        return f"{SHOWN}/{file.replace('.', '_')}.md"

    def moved(self, text: str, file: str) -> str:
        """A page's text with every link to a file as the site has it.

        Args:
            text: of the page.
            file: where it lies in the repository, or where its links believe it to lie.

        Raises:
            DeadLink: one of them leads nowhere.
        """
        here = PurePosixPath(self.of(file)).parent
        folder = PurePosixPath(file).parent

        def link(found: re.Match[str]) -> str:
            target, _, anchor = found["target"].partition("#")
            if not target or re.match(r"[a-z]+:", target):
                return found[0]
            asked = os.path.normpath(folder / target)
            try:
                page = os.path.relpath(self.of(asked), here)
            except DeadLink as error:
                raise DeadLink(f"{file} links to {found['target']}: {error}") from None
            return f"{found['head']}({page}{'#' * bool(anchor)}{anchor})"

        # a link's text may go on in the next line, so what is between blocks is read at once
        return "".join(
            part if code else LINK.sub(link, part)
            for code, lines in groupby(lines_and_whether_code(text), key=itemgetter(1))
            for part in ["".join(line for line, _ in lines)]
        )


def lines_and_whether_code(text: str) -> Iterator[tuple[str, bool]]:
    """Every line of a page, ends included, and whether it belongs to a fenced block.

    Example:
        >>> list(lines_and_whether_code("a\\n```\\nb\\n```\\n"))
        [('a\\n', False), ('```\\n', True), ('b\\n', True), ('```\\n', True)]
    """
    fence = ""
    for line in text.splitlines(keepends=True):
        found = FENCE.match(line)
        inside = bool(fence or found)
        if found:
            fence = "" if fence and found[1].startswith(fence) else fence or found[1]
        yield line, inside
