"""Plans: every arm searches alike, on validation; every seed is a whole repetition."""

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import relatum.bench.search as place
from relatum.bench.experiment import Cell
from relatum.bench.rehearsal import rehearse
from relatum.bench.search import search
from relatum.bench.study import run_plan
from relatum.checkpoint import Interrupted, Stop
from relatum.data import Resident
from relatum.data.image_set import ImageSet
from relatum.distiller import Distiller
from relatum.recipes.plan import Arm, Plan
from relatum.recipes.recipe import Recipe
from relatum.run import Silent
from relatum.run.sets import sets_of
from relatum.tally import NotFinite
from relatum.types import Fault

CPU = torch.device("cpu")
SHORT = Recipe(dataset="digits", epochs=1, batch_size=256, validation=0.1, schedule="constant")
SETTINGS: tuple[dict[str, Any], ...] = (
    {"learning_rate": 0.01},
    {"learning_rate": 0.2},
    {"schedule": "cosine"},
)
SCORES = (70.0, 90.0, 80.0)


def arm(**fields: Any) -> Arm:
    held: dict[str, Any] = {"label": "none", "recipe": SHORT, "settings": SETTINGS}
    return Arm(**{**held, **fields})


def searched(
    file: Path, arm: Arm, recipe: Recipe | None = None, stop: Stop | None = None
) -> Recipe:
    return search(
        arm,
        recipe or arm.recipe,
        file,
        device=CPU,
        stop=stop or Stop(),
        display=Silent(),
        epochs=1,
    )


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """What was tried, its scores invented."""
    seen: list[Recipe] = []

    def score(recipe: Recipe, arm: Arm, device: torch.device, stop: Stop) -> float:
        seen.append(recipe)
        for setting, value in zip(SETTINGS, SCORES, strict=True):
            if all(getattr(recipe, name) == each for name, each in setting.items()):
                return value
        raise AssertionError(recipe)

    monkeypatch.setattr(place, "_score", score)
    return seen


def test_the_best_setting_is_taken(tmp_path: Path, tried: list[Recipe]) -> None:
    recipe = SHORT.but(epochs=20, seed=3)
    found = searched(tmp_path / "s.json", arm(recipe=recipe))
    assert found == recipe.but(learning_rate=0.2)  # its own epochs stay
    assert [each.epochs for each in tried] == [1, 1, 1]
    assert {each.seed for each in tried} == {3}
    assert list(json.loads((tmp_path / "s.json").read_text()).values()) == list(SCORES)


def test_the_first_of_equals_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "_score", lambda *_: 50.0)
    assert searched(tmp_path / "s.json", arm()) == SHORT.but(learning_rate=0.01)


def test_scores_are_kept(tmp_path: Path, tried: list[Recipe]) -> None:
    for _ in range(2):
        searched(tmp_path / "s.json", arm())
    assert len(tried) == 3
    searched(tmp_path / "s.json", arm(recipe=SHORT.but(batch_size=128)))  # another search
    assert len(tried) == 6


def test_a_search_that_was_stopped_goes_on(
    tmp_path: Path, tried: list[Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, score = Stop(), place._score

    def halting(*args: Any) -> float:
        stop.signum = 15
        return score(*args)

    monkeypatch.setattr(place, "_score", halting)
    with pytest.raises(Interrupted):
        searched(tmp_path / "s.json", arm(), stop=stop)
    monkeypatch.setattr(place, "_score", score)
    assert len(tried) == 1
    assert searched(tmp_path / "s.json", arm()).learning_rate == 0.2
    assert len(tried) == 3


def test_another_teacher_is_another_search(tmp_path: Path, tried: list[Recipe]) -> None:
    folders = [tmp_path / name for name in "ab"]
    for at, folder in enumerate(folders):
        folder.mkdir()
        (folder / "student.safetensors").write_bytes(b"weights" + bytes([at]))
    for folder in folders:
        searched(tmp_path / "s.json", arm(), SHORT.but(teacher=str(folder)))
    assert len(tried) == 6
    moved = tmp_path / "moved"
    folders[0].rename(moved)
    searched(tmp_path / "s.json", arm(), SHORT.but(teacher=str(moved)))
    assert len(tried) == 6


def test_what_cannot_be_searched(tmp_path: Path, tried: list[Recipe]) -> None:
    assert searched(tmp_path / "s.json", arm(settings=())) == SHORT
    with pytest.raises(Fault, match="none: a search needs a validation part"):
        searched(tmp_path / "s.json", arm(recipe=SHORT.but(validation=0.0)))
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(Fault, match="is damaged; delete it to search again"):
        searched(tmp_path / "s.json", arm())


def test_settings_that_do_not_stay_finite_lose(tmp_path: Path) -> None:
    settings = ({"learning_rate": 1e30}, {"learning_rate": 0.1})
    found = searched(tmp_path / "s.json", arm(settings=settings))
    assert found.learning_rate == 0.1
    scores = list(json.loads((tmp_path / "s.json").read_text()).values())
    assert scores[0] == -1
    assert 10 < scores[1] <= 100
    with pytest.raises(NotFinite, match="no setting of the search stayed finite"):
        searched(tmp_path / "t.json", arm(settings=settings[:1]))


class Untouchable:
    """A test part that nobody may look at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the search looked at the test part ({name})")


def guarded(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> None:
    prepared = import_module("relatum.run.prepare")
    monkeypatch.setattr(prepared, "sets_of", lambda *args: change(sets_of(*args)))


def test_a_search_never_touches_the_test_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded(monkeypatch, lambda sets: replace(sets, test=Untouchable()))
    settings = ({"learning_rate": 0.05}, {"learning_rate": 0.2})
    searched(tmp_path / "s.json", arm(settings=settings))
    before = json.loads((tmp_path / "s.json").read_text())

    def other(sets: Any) -> Any:
        held = sets.validation
        return replace(sets, validation=Resident(held.images, 9 - held.labels))

    guarded(monkeypatch, other)
    searched(tmp_path / "t.json", arm(settings=settings))
    after = json.loads((tmp_path / "t.json").read_text())
    assert before.keys() == after.keys()
    assert all(before[name] > after[name] + 20 for name in before)  # validation is what counts


def test_a_plan_is_run_whole(tmp_path: Path) -> None:
    altered: list[int] = []

    def alter(distiller: Distiller, train: ImageSet) -> None:
        altered.append(len(train))

    plan = Plan(
        name="small",
        title="Small",
        teacher=Arm("teacher", SHORT.but(student="digits-cnn-large"), learns=False),
        arms=(
            Arm("none", SHORT),
            Arm("sp (1)", SHORT.but(method="sp=1"), settings=SETTINGS[:2]),
            Arm("untrained", SHORT.but(epochs=0), alter=alter),
        ),
        seeds=(4, 5),
        search_epochs=1,
    )
    records, failures = run_plan(plan, tmp_path, device=CPU)
    assert failures == []
    assert len(records) == plan.runs == 8
    assert [(each.label, each.recipe.seed) for each in records] == [
        ("teacher", 4),
        ("teacher", 5),
        *((label, seed) for seed in (4, 5) for label in ("none", "sp (1)", "untrained")),
    ]
    for record in records[2:]:
        folder = tmp_path / "teacher" / f"seed-{record.recipe.seed}"
        assert record.recipe.teacher == str(folder)
        assert record.teacher is not None
    assert records[0].teacher is None
    sha = {each.recipe.seed: each.teacher.weights_sha256 for each in records if each.teacher}
    assert len(set(sha.values())) == 2  # every seed has a teacher of its own
    scores = json.loads((tmp_path / ".search" / "sp-1.json").read_text())
    best = max(scores, key=lambda name: scores[name])
    rates = {each.recipe.learning_rate for each in records if each.label == "sp (1)"}
    assert len(rates) == 1  # one search, by the first seed
    assert f"learning_rate {rates.pop():g} " in best
    assert {path.name for path in (tmp_path / ".search").iterdir()} == {"sp-1.json"}
    assert altered == [1294, 1294]
    # and once more: nothing is trained again
    again, _ = run_plan(plan, tmp_path, device=CPU)
    assert again == records
    assert len(altered) == 2


def failing(monkeypatch: pytest.MonkeyPatch, *seeds: int) -> None:
    """Let the teachers of these seeds not stay finite."""
    place = import_module("relatum.bench.experiment")
    train = place.run

    def run(recipe: Recipe, folder: Path, **named: Any) -> Any:
        if named["label"] == "teacher" and recipe.seed in seeds:
            raise NotFinite("the loss is infinite since step 7")
        return train(recipe, folder, **named)

    monkeypatch.setattr(place, "run", run)


WITH_TEACHER = Plan(
    name="wild",
    title="Wild",
    teacher=Arm("teacher", SHORT.but(student="digits-cnn-large"), learns=False),
    arms=(Arm("kd", SHORT.but(method="kd"), settings=SETTINGS[:2]), Arm("none", SHORT)),
    seeds=(0, 1),
    search_epochs=1,
)


def test_a_teacher_that_fails_takes_its_own_seed_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, 0)
    records, failures = run_plan(WITH_TEACHER, tmp_path, device=CPU)
    assert [(each.label, each.recipe.seed) for each in records] == [
        ("teacher", 1),
        ("kd", 1),
        ("none", 1),
    ]
    assert [(each.cell.folder, each.reason) for each in failures] == [
        ("teacher/seed-0", "the loss is infinite since step 7"),
        ("kd/seed-0", "its teacher failed"),
        ("none/seed-0", "its teacher failed"),
    ]


def test_when_all_teachers_fail_nothing_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: list[Recipe]
) -> None:
    failing(monkeypatch, 0, 1)
    records, failures = run_plan(WITH_TEACHER, tmp_path, device=CPU)
    assert records == []
    assert len(failures) == 2 + 4
    assert tried == []


def test_a_rehearsal_writes_nothing_and_finds_what_does_not_fit(tmp_path: Path) -> None:
    source = str(tmp_path / "teacher")
    cells = [
        Cell("teacher", "teacher", SHORT.but(student="digits-cnn-large")),
        Cell("kd/seed-0", "kd", SHORT.but(method="kd", teacher=source)),
    ]
    rehearse(cells, tmp_path, device=CPU)
    wrong = Cell("x/seed-0", "x", SHORT.but(method="sp@nope", teacher=source))
    with pytest.raises(Fault, match="has no tap and no module 'nope'"):
        rehearse([*cells, wrong], tmp_path, device=CPU)
    assert list(tmp_path.iterdir()) == []
