"""The site: pages are made, links and anchors lead somewhere, nothing comes from elsewhere."""

import importlib.util
import re
import runpy
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from relatum.methods import METHODS
from tests.examples_in_pages import examples

ROOT = Path(__file__).parents[1]
HOST = "http://site.invalid/"
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""What a browser fetches without being asked to, and by which attribute."""

needs_zensical = pytest.mark.skipif(
    importlib.util.find_spec("zensical") is None, reason="needs relatum[docs]"
)


@pytest.fixture(scope="module")
def website() -> Iterator[dict[str, ModuleType]]:
    pytest.importorskip("math_core", reason="needs relatum[docs]")
    sys.path.insert(0, str(ROOT / "docs"))
    names = ("formulas", "places", "method_pages", "reference", "docstrings")
    try:
        found = {name: importlib.import_module(f"website.{name}") for name in names}
        yield found | {"make_site": importlib.import_module("make_site")}
    finally:
        sys.path.remove(str(ROOT / "docs"))


@pytest.fixture(scope="module")
def pages(website: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pages, before a site is made of them."""
    folder = tmp_path_factory.mktemp("build") / "pages"
    website["make_site"].write(folder)
    return folder


def test_every_method_has_a_page_with_an_example(pages: Path) -> None:
    made = {file.stem: file.read_text(encoding="utf-8") for file in pages.glob("methods/*.md")}
    assert set(made) == set(METHODS)
    for name, page in made.items():
        shell = next(each.code for each in examples(page) if each.tag == "sh")
        assert f"--method {name}\n" in shell
        assert str(METHODS[name].year) in page
        assert "## The loss:" in page


@pytest.mark.parametrize("name", METHODS)
def test_the_example_of_a_method_runs(
    name: str, website: dict[str, ModuleType], tmp_path: Path
) -> None:
    program = website["method_pages"].example_of(METHODS[name].loss)
    if program:
        file = tmp_path / "example.py"
        file.write_text(program, encoding="utf-8")
        runpy.run_path(str(file))


def test_numbers_are_those_of_the_results(website: dict[str, ModuleType]) -> None:
    page = website["method_pages"].page("sp")
    assert "| cpu | 64 | exact | 1 | 6.7 | 0.53 % | 4.2 |" in page, "as docs/cost.md has it"
    assert "| 89.09 ± 1.17 | 3 | 1 | {0}0.49 ({0}6.88 to 5.90) |".format("\N{MINUS SIGN}") in page
    assert "| wrn-40-2 | wrn-16-2 | 73.26 | 73.83 |" in page, "as RepDistiller prints it"
    assert "| `sp` | [`SP`](../api/losses/sp.md#relatum.losses.sp.SP) | `maps` | 3,000 |" in page
    assert "## Measured here" not in website["method_pages"].page("wttm"), "nothing was"


def test_formulas_and_examples_of_docstrings(website: dict[str, ModuleType]) -> None:
    from markdown import Markdown

    read = Markdown(extensions=[website["formulas"].Formulas(), "pymdownx.superfences"])
    text = "a :math:`x_i` b `:math:` c\n\n.. math::\n    \\frac{1}{2} \\| x \\|\n\nd\n\n"
    text += ">>> f(1)\n2\n\ne"
    made = read.convert(text)
    assert "<msub><mi>x</mi><mi>i</mi></msub>" in made
    assert "<code>:math:</code>" in made
    assert re.search(r'<div class="formula"><math display="block">.*<mfrac>', made)
    assert "<p>d</p>" in made
    assert re.search(r"<code>.*f.*1.*\n.*2", made, re.DOTALL)
    assert "<p>e</p>" in made
    paid = read.convert("$a_k\\|b\\|$, `$HOME` and `$x`, 5$ or 6$, $5 and $6")
    assert paid.count("<math>") == 1
    assert "5$ or 6$, $5 and $6" in paid
    kept = read.convert("```\n.. math::\n    x\n>>> y\n```\n")
    assert "<math" not in kept, "a block of code is left as it is"


def test_links_follow_their_files(website: dict[str, ModuleType]) -> None:
    places = website["places"].Places(ROOT)
    moved = places.moved("[a\nb](docs/cost.md#x) [c](LICENSE) [d](https://x.y)\n", "README.md")
    assert moved == "[a\nb](cost.md#x) [c](files/LICENSE.md) [d](https://x.y)\n"
    assert places.shown == {"LICENSE"}
    assert places.moved("```\n[a](nix.md)\n```\n", "docs/cost.md") == "```\n[a](nix.md)\n```\n"
    with pytest.raises(website["places"].DeadLink, match=r"docs/cost.md links to nix.md"):
        places.moved("[a](nix.md)", "docs/cost.md")


def test_the_reference_holds_what_pages_import(website: dict[str, ModuleType]) -> None:
    """Whoever reads an example can look up where its names come from."""
    held = {"relatum", "relatum.losses", *website["reference"].modules()}
    texts = [*ROOT.glob("README.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.py")]
    used = {
        found
        for file in texts
        for found in re.findall(r"^from (relatum[\w.]*) import", file.read_text(), re.MULTILINE)
    }
    assert used - held == set(), "add these to docs/website/reference.py"


class _Page(HTMLParser):
    """The ids of a page, the links on it, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.links, self.loads = set[str](), list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = {name: value or "" for name, value in attrs}
        self.ids |= {held[name] for name in ("id", "name") if held.get(name)}
        if tag == "a" and "href" in held:
            self.links.append(held["href"])
        elif tag in LOADS and held.get("rel") not in ("canonical", "next", "prev"):
            self.loads += [held[LOADS[tag]]] if LOADS[tag] in held else []


@needs_zensical
def test_the_site_is_whole(website: dict[str, ModuleType], pages: Path) -> None:
    """One test, so that one of the processes that share the tests makes it."""
    assert website["make_site"].run_zensical("build", pages) == 0
    folder = pages.parent / "site"
    site = {
        file.relative_to(folder).as_posix(): _Page(file.read_text())
        for file in folder.rglob("*.html")
    }
    assert len(site) > len(METHODS) + 60
    assert dead_links(folder, site) == []
    assert loaded_from_elsewhere(folder, site) == set()
    for place in ("methods/sp.html", "api/losses/sp.html"):
        text = (folder / place).read_text()
        assert '<math display="block">' in text
        assert ".. math::" not in text
        assert ":math:" not in text
    assert {"relatum.losses.sp.SP", "relatum.losses.sp.SP.forward"} <= site[
        "api/losses/sp.html"
    ].ids


def dead_links(folder: Path, site: dict[str, _Page]) -> list[str]:
    """Links to pages, anchors and files that are not there."""
    dead = list[str]()
    for place, page in site.items():
        for link in page.links:
            target = urlsplit(urljoin(HOST + place, link))
            if target.netloc != urlsplit(HOST).netloc or target.scheme != "http":
                continue
            path = unquote(target.path).lstrip("/")
            path += "index.html" if not path or path.endswith("/") else ""
            known = site.get(path)
            lost = known is None and not (folder / path).is_file()
            if lost or (known and target.fragment and unquote(target.fragment) not in known.ids):
                dead.append(f"{place}: {link}")
    return dead


def loaded_from_elsewhere(folder: Path, site: dict[str, _Page]) -> set[str]:
    """What a browser would fetch from other hosts."""
    loads = {load for page in site.values() for load in page.loads}
    styles = {file.read_text() for file in folder.rglob("*.css")}
    assert loads
    assert styles
    fetched = re.compile(r"url\(['\"]?(?:https?:)?//[^)]*|@import[^;]*")
    return {load for load in loads if urlsplit(load).netloc} | {
        found for style in styles for found in fetched.findall(style)
    }
