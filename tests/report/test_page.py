from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from relatum.record import Record
from relatum.report.meanings import MEANINGS, meanings
from relatum.report.page import write_report
from relatum.report.provenance import AGAIN
from relatum.report.table import METRICS, summarise
from relatum.types import Fault

Make = Callable[..., Record]
Save = Callable[..., None]
Matrices = Callable[..., dict[str, Any]]
NASTY = """<script>alert("1")</script>&'"><img src=x onerror=alert(2)>"""
VOID = {"meta", "img"}


class Outline(HTMLParser):
    """Every element and its attributes; complains when one is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
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

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def outline(folder: Path) -> Outline:
    path = write_report(folder)
    assert path == folder / "report.html"
    return Outline(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(report: Path) -> Outline:
    return Outline(report.read_text(encoding="utf-8"))


def test_an_experiment(report: Path, page: Outline) -> None:
    assert len(page.all("h1")) == 1
    assert "digits-cnn-small taught by digits-cnn on digits" in page.text
    assert "Of five methods: three better than the student alone (kd, rrkd, sp)" in page.text
    assert "no term reached two parameters, not trained: head.weight, head.bias" in page.text
    assert "sp: no validation part, so the last epoch is the one" in page.text
    assert AGAIN.format("none/seed-0/recipe.json") in page.text
    assert report.stat().st_size < 3_000_000


def test_every_column_is_explained(make: Make) -> None:
    assert set(MEANINGS) == {each.name for each in METRICS}
    told = meanings(summarise([make("sp", metrics={"gap_cosine": 0.2})]))
    assert [each.partition(":")[0] for each in told] == ["top-1 %", "relation gap ↓"]


def test_the_page_asks_nobody(report: Path, page: Outline) -> None:
    assert page.all("script") == page.all("link") == page.all("iframe") == []
    assert all((image["src"] or "").startswith("data:image/") for image in page.all("img"))
    text = report.read_text(encoding="utf-8")
    assert "url(" not in text
    assert "@import" not in text
    [policy] = [each for each in page.all("meta") if "http-equiv" in each]
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_every_picture_has_its_text_and_its_size(page: Outline) -> None:
    images = page.all("img")
    assert len(images) >= 15
    for image in images:
        assert len(image["alt"] or "") > 20
        assert int(image["width"] or 0) > 0
        assert int(image["height"] or 0) > 0


def test_tables_name_their_rows_and_columns(page: Outline) -> None:
    assert all(head.get("scope") in ("row", "col") for head in page.all("th"))
    assert all(table.get("aria-label") for table in page.all("table"))


def test_writing_again_gives_the_same_page(
    tmp_path: Path, make: Make, save: Save, matrices: Matrices
) -> None:
    save(tmp_path, make("sp"), **matrices(0, 0.3, teacher=True))
    first = write_report(tmp_path).read_bytes()
    assert write_report(tmp_path).read_bytes() == first


def test_everything_from_outside_is_escaped(
    tmp_path: Path, make: Make, save: Save, matrices: Matrices
) -> None:
    record = make(
        NASTY,
        changes={"student": NASTY, "dataset": f"folder:{NASTY}", "teacher": NASTY, "method": NASTY},
        environment={NASTY: NASTY, "relatum": NASTY},
        notes=(NASTY,),
        idle=(NASTY,),
        classes=(NASTY,) * 10,
        metrics={NASTY: 1.0},
        samples={NASTY: 3, "test": 4},
    )
    row = record.rows[0].model_copy(update={"losses": {NASTY: 1.0}})
    save(tmp_path / "a", record.model_copy(update={"rows": (row,)}), **matrices(0, 1, teacher=True))
    save(
        tmp_path / "b",
        make("none", changes={"student": "x", "dataset": f"folder:{NASTY}"}, samples={"test": 4}),
    )
    page = outline(tmp_path)
    assert page.all("script") == []
    assert not any("onerror" in attributes for _, attributes in page.found)
    assert not any((image["src"] or "").startswith("x") for image in page.all("img"))
    assert page.text.count("<script>") >= 10


def test_a_single_run(tmp_path: Path, make: Make, save: Save, matrices: Matrices) -> None:
    save(tmp_path, make("sp", metrics={"kept": 98.1}), **matrices(0, 0.3, teacher=True))
    page = outline(tmp_path)
    assert "sp: top-1 97.00 %, 98.1 % of what the teacher reaches (one run" in page.text
    assert AGAIN.format("recipe.json") in page.text
    assert str(tmp_path.parent) not in page.text, "a page does not tell where it was written"


def test_a_run_of_a_teacher(tmp_path: Path, make: Make, save: Save) -> None:
    save(tmp_path, make("teacher", top1=99.0, changes={"student": "digits-cnn"}))
    page = outline(tmp_path)
    assert "digits-cnn on digits" in page.text
    assert "teacher: top-1 99.00 %" in page.text


def test_an_unlabelled_run(tmp_path: Path, make: Make, save: Save, matrices: Matrices) -> None:
    record = make(
        "sp",
        top1=None,
        metrics={"gap_cosine": 0.2, "cka": 0.9},
        changes={"labels": False, "dataset": "folder:photos"},
        classes=(),
        teacher=make("sp").teacher.model_copy(update={"metrics": {}}),  # type: ignore[union-attr]
    )
    save(tmp_path, record, **matrices(0, 0.3, teacher=True, labels=False))
    page = outline(tmp_path)
    assert "sp: CKA 0.900 (one run" in page.text
    assert "by the cosine of their embeddings. Each method" in page.text
    assert "labels not used for training" in page.text
    assert "top-1" not in page.text


def test_a_run_of_no_epochs_and_no_files(tmp_path: Path, make: Make) -> None:
    record = make("none", top1=None, changes={"epochs": 0}, rows=(), environment={}, samples={})
    record.save(tmp_path)
    page = outline(tmp_path)
    assert "Nothing was measured on the test images." in page.text
    assert page.all("img") == []


def test_where_recipes_and_machines_differ(tmp_path: Path, make: Make, save: Save) -> None:
    save(tmp_path / "a", make("none", changes={"learning_rate": 0.2}))
    save(tmp_path / "b", make("sp", environment={"torch": "2.11.0", "device": "cpu"}))
    page = outline(tmp_path)
    assert "learning_rate 0.2 0.05" in page.text
    assert "The runs differ in torch: seeds are not all that varies." in page.text
    assert "2.15.0 · 2.11.0" in page.text


def test_an_odd_path_is_quoted(tmp_path: Path, make: Make, save: Save) -> None:
    save(tmp_path / "it's; rm -rf x", make("none"))
    assert """'it'"'"'s; rm -rf x/recipe.json'""" in outline(tmp_path).text


def test_commands_start_from_here(
    tmp_path: Path, make: Make, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "runs" / "digits" / "none", make("none"))
    command = AGAIN.format("runs/digits/none/recipe.json")
    monkeypatch.chdir(tmp_path)
    assert command in outline(Path("runs/digits")).text
    assert command in outline(tmp_path / "runs" / "digits").text


def test_no_run_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="holds no finished run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_mixed_runs_leave_the_old_page(tmp_path: Path, make: Make, save: Save) -> None:
    save(tmp_path / "a", make("none"))
    before = write_report(tmp_path).read_bytes()
    save(tmp_path / "b", make("sp", changes={"epochs": 9}))
    with pytest.raises(Fault, match="epochs is 4"):
        write_report(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before
