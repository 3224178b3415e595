"""Pairs, methods and seeds as cells: what is trained, in which order, and where it lies."""

from pathlib import Path

import pytest

from relatum.bench.grid import Grid, given_of, pairs_of
from relatum.recipes.benchmark import PAIRS, Pair
from relatum.types import Fault

OUT = Path("out")
TWO = (Pair("resnet56", "resnet20"), Pair("resnet110", "resnet20"))


def grid(**changes: object) -> Grid:
    fields: dict[str, object] = {
        "dataset": "cifar100",
        "pairs": TWO,
        "methods": ("none", "kd", "sp=3000+kd@maps"),
        "seeds": (0, 7),
    }
    return Grid(**(fields | changes))  # type: ignore[arg-type]


def test_teachers_first_then_seed_by_seed() -> None:
    assert [cell.folder for cell in grid().cells(OUT)] == [
        "teachers/resnet56",
        "teachers/resnet110",
        *(
            f"{place}/seed-{seed}"
            for seed in (0, 7)
            for place in (
                "alone/resnet20",
                "resnet56--resnet20/kd",
                "resnet56--resnet20/sp=3000+kd@maps",
                "resnet110--resnet20/kd",
                "resnet110--resnet20/sp=3000+kd@maps",
            )
        ),
    ]


def test_a_student_alone_knows_no_teacher_and_a_pupil_learns_from_its_own() -> None:
    cells = {cell.folder: cell for cell in grid().cells(OUT)}
    alone = cells["alone/resnet20/seed-7"]
    assert (alone.label, alone.teacher, alone.recipe.teacher) == ("none", None, None)
    assert (alone.recipe.student, alone.recipe.seed) == ("resnet20", 7)
    pupil = cells["resnet110--resnet20/kd/seed-7"]
    assert (pupil.label, pupil.teacher) == ("kd", "resnet110")
    assert pupil.recipe.teacher == str(OUT / "teachers" / "resnet110")
    teacher = cells["teachers/resnet110"]
    assert (teacher.label, teacher.teacher, teacher.recipe.teacher) == ("teacher", None, None)
    assert (teacher.recipe.student, teacher.recipe.seed) == ("resnet110", 0)


def test_the_protocol_is_the_benchmarks() -> None:
    cells = {cell.folder: cell.recipe for cell in grid(pairs=PAIRS, scale=0.05).cells(OUT)}
    assert {recipe.scale for recipe in cells.values()} == {0.05}
    assert {recipe.epochs for recipe in cells.values()} == {12}
    assert cells["teachers/vgg13"].learning_rate == 0.05
    assert cells["alone/mobilenetv2/seed-0"].learning_rate == 0.01
    assert cells["vgg13--mobilenetv2/kd/seed-0"].learning_rate == 0.01
    teachers = {name for name, _ in PAIRS}
    students = {name for _, name in PAIRS}
    assert len(cells) == len(teachers) + 2 * (len(students) + 2 * len(PAIRS))


def test_what_is_about_the_images_holds_for_teachers_too() -> None:
    changes = {"data_root": "/d", "validation": 0.1, "samples": 500, "weight_decay": 0.0}
    cells = {cell.folder: cell.recipe for cell in grid(changes=changes).cells(OUT)}
    teacher, student = cells["teachers/resnet56"], cells["alone/resnet20/seed-0"]
    assert (teacher.data_root, teacher.validation, teacher.samples) == ("/d", 0.1, 500)
    assert (teacher.weight_decay, student.weight_decay) == (5e-4, 0.0)
    with pytest.raises(Fault, match="no field 'learning_rat'"):
        grid(changes={"learning_rat": 1.0}).cells(OUT)


def test_a_teacher_that_is_given_is_not_trained() -> None:
    cells = {cell.folder: cell for cell in grid(given={"resnet56": "runs/big"}).cells(OUT)}
    assert "teachers/resnet56" not in cells
    assert "teachers/resnet110" in cells
    assert cells["resnet56--resnet20/kd/seed-0"].recipe.teacher == "resnet56@runs/big"
    with pytest.raises(Fault, match="'vgg13' is given, and is in no pair; there are resnet56"):
        grid(given={"vgg13": "x"}).cells(OUT)


def test_who_only_trains_alone_needs_no_teacher() -> None:
    folders = [cell.folder for cell in grid(methods=("none",)).cells(OUT)]
    assert folders == ["alone/resnet20/seed-0", "alone/resnet20/seed-7"]


def test_a_network_of_ones_own_is_named_before_its_weights() -> None:
    cells = grid(pairs=(Pair("nets.py:big", "resnet20"),), methods=("kd",)).cells(OUT)
    assert cells[0].folder == "teachers/nets.py-big"
    assert cells[1].recipe.teacher == f"nets.py:big@{OUT}/teachers/nets.py-big"


def test_two_names_may_not_share_a_folder() -> None:
    with pytest.raises(Fault, match=r"resnet56 resnet20 a-b\.py:X would share the folder resnet56"):
        grid(methods=("a/b.py:X", "a-b.py:X")).cells(OUT)


def test_what_was_asked_for_is_written_down(tmp_path: Path) -> None:
    assert Grid.load(tmp_path) is None
    asked = grid(given={"resnet56": "runs/big"}, changes={"samples": 500}, baseline="kd")
    asked.save(tmp_path)
    assert Grid.load(tmp_path) == asked
    for text in ("{", "[]", '{"pairs": 3}', '{"pairs": [], "methods": [], "seeds": []}'):
        (tmp_path / "bench.json").write_text(text)
        with pytest.raises(Fault, match=r"bench\.json is damaged; delete it"):
            Grid.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("wrn-40-2:wrn-16-2", ("wrn-40-2", "wrn-16-2")),
        ("resnet56:my_file:make", ("resnet56", "my_file:make")),
        ("nets/mine.py:big:resnet20", ("nets/mine.py:big", "resnet20")),
        ("mine:big:mine:small", ("mine:big", "mine:small")),
        ("timm/resnet50:pretrained:resnet20", ("timm/resnet50:pretrained", "resnet20")),
        ("timm/a:pretrained:timm/b:pretrained", ("timm/a:pretrained", "timm/b:pretrained")),
        ("torchvision/resnet18:mine:small", ("torchvision/resnet18", "mine:small")),
    ],
)
def test_names_that_hold_a_colon_of_their_own(text: str, pair: tuple[str, str]) -> None:
    assert pairs_of(text, "cifar100") == (Pair(*pair),)


@pytest.mark.parametrize("text", ["", "resnet56", "resnet56:", ":resnet20", "a:b:c:d:e"])
def test_what_is_no_pair(text: str) -> None:
    with pytest.raises(Fault, match="--pairs wants TEACHER:STUDENT"):
        pairs_of(text, "cifar100")


def test_several_pairs() -> None:
    assert pairs_of("vgg13:vgg8, resnet56:resnet20,", "cifar100") == (
        Pair("vgg13", "vgg8"),
        Pair("resnet56", "resnet20"),
    )
    assert pairs_of("all", "cifar100") == PAIRS
    assert pairs_of(None, "digits") == (Pair("digits-cnn-large", "digits-cnn-small"),)
    assert pairs_of(None, "cifar100")[0] in PAIRS
    with pytest.raises(Fault, match="vgg13:vgg8 is there twice"):
        pairs_of("vgg13:vgg8,vgg13:vgg8", "cifar100")


def test_given_teachers() -> None:
    assert given_of(None) == {}
    assert given_of("vgg13=a/b=c, resnet56 = d") == {"vgg13": "a/b=c", "resnet56": "d"}
    for wrong in ("vgg13", "vgg13=", "=a", "vgg13=a,,"):
        with pytest.raises(Fault, match="--teachers wants MODEL=PATH"):
            given_of(wrong)
    with pytest.raises(Fault, match="vgg13 is there twice"):
        given_of("vgg13=a,vgg13=b")
