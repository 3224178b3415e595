from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from relatum.recipes.benchmark import Pair
from relatum.record import Record, find
from relatum.report.standings import standings, tables
from relatum.report.standings_page import heading, title, write_benchmark

Runs = Callable[..., list[Record]]
Pages = Callable[[Path], Path]
VOID = {"meta", "img"}


class Outline(HTMLParser):
    """Texts and elements; complains when one is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def outline(page: Path) -> Outline:
    return Outline(page.read_text(encoding="utf-8"))


def test_a_benchmark(benchmark_report: Path) -> None:
    page = outline(benchmark_report)
    assert "Four methods on two pairs, cifar100" in page.text
    assert "Of six comparisons with the student alone: six better." in page.text
    assert "1 refused, 1 not run, 1 lack seeds" in page.text
    assert "crd: seed 2 failed: the term 'crd' is not finite." in page.text
    assert "fsp: refused: unequal." in page.text
    assert "How to read it" in page.text
    assert page.tags.count("img") == 2
    assert "script" not in page.tags
    assert benchmark_report.stat().st_size < 500_000


def test_every_pair_has_a_page_of_its_own(benchmark_report: Path) -> None:
    folder = benchmark_report.parent
    links = [folder / unquote(each) for each in outline(benchmark_report).links]
    assert [link.relative_to(folder).as_posix() for link in links] == [
        *["resnet56--resnet20/report.html", "resnet110--resnet20/report.html"]
    ]
    page = outline(links[0])
    assert "resnet20 taught by resnet56 on cifar100" in page.text
    assert "Dunnett's test, for all methods together" in page.text
    assert "not corrected" not in page.text
    assert "student alone" in page.text, "although its runs lie elsewhere"
    assert "alone/resnet20/seed-0" in page.text
    assert "Relations" in page.text


def test_tables_lie_beside_the_page(benchmark_report: Path) -> None:
    folder = benchmark_report.parent
    assert (folder / "table.md").read_text().startswith("## cifar100, top-1\n")
    assert (folder / "table.csv").read_text().startswith("dataset,teacher,student,method,")
    assert r"\usepackage{booktabs}" in (folder / "table.tex").read_text()


def test_writing_again_gives_the_same_bytes(saved_benchmark: Path, pages_of: Pages) -> None:
    def written() -> dict[str, bytes]:
        pages_of(saved_benchmark)
        kinds = ("*.html", "table.*")
        found = [path for kind in kinds for path in saved_benchmark.rglob(kind)]
        return {str(path): path.read_bytes() for path in found}

    first = written()
    assert len(first) == 6
    assert written() == first


def test_a_pairs_page_is_drawn_when_its_runs_change(saved_benchmark: Path, pages_of: Pages) -> None:
    pages_of(saved_benchmark)
    pages = [
        saved_benchmark / f"{each}--resnet20/report.html" for each in ("resnet56", "resnet110")
    ]
    before = [page.stat().st_mtime_ns for page in pages]
    pages_of(saved_benchmark)
    assert [page.stat().st_mtime_ns for page in pages] == before
    (saved_benchmark / "resnet56--resnet20/sp/seed-2/record.json").unlink()
    pages_of(saved_benchmark)
    after = [page.stat().st_mtime_ns for page in pages]
    assert after[0] > before[0]
    assert after[1] == before[1]


def test_two_protocols_are_two_tables(
    saved_benchmark: Path, pages_of: Pages, runs_of: Runs
) -> None:
    for record in runs_of("resnet56", "resnet20", {"at": (50.0, 51.0)}, scale=0.05):
        record.save(saved_benchmark / f"resnet56--resnet20/at/seed-{record.recipe.seed}")
    page = outline(pages_of(saved_benchmark))
    assert "At scale 0.05: not comparable with published numbers." in page.text
    assert "resnet56--resnet20/report-2.html" in page.links
    assert (saved_benchmark / "resnet56--resnet20/report-2.html").exists()
    text = (saved_benchmark / "table.md").read_text()
    assert text.count("\n## ") + text.startswith("## ") == 2


def test_students_alone_make_a_page(tmp_path: Path, runs_of: Runs, pages_of: Pages) -> None:
    for record in runs_of(None, "resnet20", {"none": (69.0, 69.2)}):
        record.save(tmp_path / f"alone/resnet20/seed-{record.recipe.seed}")
    page = outline(pages_of(tmp_path))
    assert page.links == []
    assert "69.10 ± 0.14" in page.text


def test_a_pair_without_runs(tmp_path: Path, runs_of: Runs) -> None:
    for record in runs_of("resnet56", "resnet20", {"none": (69.0, 69.2), "kd": (70.0, 70.2)}):
        record.save(tmp_path / f"resnet56--resnet20/{record.label}/seed-{record.recipe.seed}")
    runs = find(tmp_path)
    found = tables([record for _, record in runs], pairs=[Pair("vgg13", "vgg8")])
    page = outline(write_benchmark(tmp_path, runs, found))
    assert "vgg13 → vgg8" in page.text
    assert "not run" in page.text


def test_everything_from_outside_is_escaped(tmp_path: Path, runs_of: Runs, pages_of: Pages) -> None:
    nasty = """<script>alert("1")</script>&'"><img src=x onerror=alert(2)>"""
    for record in runs_of("resnet56", "resnet20", {"none": (69.0, 69.2), nasty: (70.0, 70.1)}):
        place = "none" if record.label == "none" else "nasty"
        record.save(tmp_path / f"it's a--b/{place}/seed-{record.recipe.seed}")
    page = outline(pages_of(tmp_path))
    assert "script" not in page.tags
    assert page.tags.count("img") == 1
    assert page.links == ["it%27s%20a--b/report.html"]
    assert nasty[:20] in page.text


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {"none": (69.0, 69.2), "kd": (72.0, 72.2), "ft": (60.0, 60.2), "sp": (69.1, 69.2)},
            "Of three comparisons with the student alone: one better, one worse, one not decided"
            " by these seeds.",
        ),
        ({"none": (69.0,), "kd": (70.0,)}, "No comparison with the student alone: it takes"),
    ],
)
def test_what_was_found_in_a_sentence(
    runs_of: Runs, values: dict[str, tuple[float, ...]], told: str
) -> None:
    found = standings(runs_of("resnet56", "resnet20", values))
    assert heading([found]).startswith(told)
    assert title([found]).endswith("on one pair, cifar100")
