"""Build the site: the pages of docs/, and those that are read off the code and the results.

python docs/make_site.py [--serve]

Pages are written to build/pages/, where nothing of theirs is edited; the site to build/site/. Needs
``pip install relatum[docs]``. What is wrong with a page (a dead link, a docstring that cannot be
read) ends it with 1.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS, BUILT = ROOT / "docs", ROOT / "build" / "pages"
sys.path.insert(0, str(DOCS))  # for `python -c` and tests; a script has it already

from website import method_pages, reference  # noqa: E402
from website.navigation import navigation  # noqa: E402
from website.places import PAGES, DeadLink, Places  # noqa: E402

KINDS = {".py": "python", ".sh": "sh", ".slurm": "sh", ".sbatch": "sh", ".toml": "toml"}


def main() -> int:
    """Write the pages and their order, then let Zensical make the site of them."""
    try:
        write(BUILT)
    except DeadLink as error:
        print(error, file=sys.stderr)
        return 1
    return run_zensical("serve" if "--serve" in sys.argv else "build")


def run_zensical(verb: str, pages: Path = BUILT) -> int:
    """Zensical, with our extension of Markdown; no warning is let pass when it builds.

    Args:
        verb: ``build`` or ``serve``.
        pages: where they were written to; the site comes to lie beside them.
    """
    command = [str(Path(sys.executable).with_name("zensical")), verb]
    command += ["--config-file", str(pages.parent / "mkdocs.yml")]
    if verb == "build":
        shutil.rmtree(pages.parent / "site", ignore_errors=True)
        command += ["--clean", "--strict"]
    paths = [str(DOCS), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(command, env=environment, cwd=ROOT).returncode


def write(to: Path) -> None:
    """All pages and pictures, and beside them the configuration with their order.

    Raises:
        DeadLink: a page links to a file that is not there.
    """
    shutil.rmtree(to, ignore_errors=True)
    places = Places(ROOT)
    made = dict(pages(places))
    for place, text in made.items():
        file = to / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for file in _assets():
        copy = to / file.relative_to(DOCS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    (to.parent / "mkdocs.yml").write_text(settings + navigation(made), encoding="utf-8")


def pages(places: Places) -> Iterator[tuple[str, str]]:
    """The place of every page, and its text with links as the site has them."""
    for file in sources():
        name = file.relative_to(ROOT).as_posix()
        text = file.read_text(encoding="utf-8")
        if name == "docs/methods.md":
            text = re.sub(r"^\| `([\w-]+)` \|", r"| [`\1`](methods/\1.md) |", text, flags=re.M)
            made = dict(method_pages.pages())
            yield from made.items()
            yield "methods.md", text
        else:
            yield places.of(name), places.moved(text, name)
    yield from reference.pages()
    yield "decisions/index.md", _decisions()
    yield from _shown(places)


def sources() -> list[Path]:
    """The pages of the repository that are pages of the site."""
    named = [ROOT / name for name in PAGES if name.endswith(".md")]
    return [*named, *sorted(DOCS.rglob("*.md"))]


def title(text: str) -> str:
    """A page's first heading."""
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1] if found else ""


def _decisions() -> str:
    lines = ["# Decisions", "", "Why things are as they are, half a page each.", ""]
    for file in sorted((DOCS / "decisions").glob("*.md"), reverse=True):
        said = title(file.read_text(encoding="utf-8"))
        lines.append(f"- {file.name[:10]}: [{said}]({file.name})")
    return "\n".join(lines) + "\n"


def _shown(places: Places) -> Iterator[tuple[str, str]]:
    """Files and folders that are no pages, but that pages link to."""
    for name in sorted(places.shown):
        path = ROOT / name
        if path.is_dir():
            files = sorted(each for each in path.rglob("*") if each.is_file())
            inside = [each for each in files if "__pycache__" not in each.parts]
            text = "\n\n".join(_source(each) for each in inside)
            yield places.of(name), f"# {name}/\n\n{text}\n"
        else:
            yield places.of(name), f"# {name}\n\n{_fenced(path)}\n"


def _source(path: Path) -> str:
    return f"## {path.relative_to(ROOT)}\n\n{_fenced(path)}"


def _fenced(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return f"````{KINDS.get(path.suffix, 'text')}\n{text.rstrip()}\n````"


def _assets() -> Iterator[Path]:
    for file in DOCS.rglob("*"):
        if file.is_file() and file.suffix not in (".md", ".py", ".pyc"):
            yield file


if __name__ == "__main__":
    sys.exit(main())
