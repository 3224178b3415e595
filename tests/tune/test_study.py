"""A search keeps what it found, whatever happens to it, and tries again what died."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from relatum.bench.pool import Died, Message, Result, Task
from relatum.checkpoint import Interrupted, Stop
from relatum.cli.trials import line_of
from relatum.data import Resident
from relatum.recipes.recipe import Recipe
from relatum.tune.found import found
from relatum.tune.space import dimensions
from relatum.tune.study import DATABASE, Search, address_of, finished, search
from relatum.tune.trial import Tried, Trying
from relatum.types import Fault
from relatum.weights import save_weights

optuna = pytest.importorskip("optuna")
RECIPE = Recipe(method="kd", validation=0.1)
Answer = Callable[[Trying], Message]


class Closed(Resident):
    """Images that are not to be looked at."""

    def pixels(self, which: object) -> torch.Tensor:
        raise AssertionError("a test image was looked at")

    def float(self, which: object) -> torch.Tensor:
        raise AssertionError("a test image was looked at")


class Pool:
    """Answers tasks by a function of their recipes, so many at once, the last one first."""

    def __init__(self, answer: Answer, size: int = 1) -> None:
        self._answer, self._size = answer, size
        self.tasks: list[tuple[str, Trying]] = []
        self.seen: list[Trying] = []

    @property
    def room(self) -> int:
        return self._size - len(self.tasks)

    def submit(self, key: str, task: Task) -> None:
        assert isinstance(task, Trying)
        self.tasks.append((key, task))

    def wait(self, seconds: float) -> list[tuple[str, Message]]:
        key, task = self.tasks.pop()
        self.seen.append(task)
        return [(key, self._answer(task))]

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


def wanted(trials: int, **named: object) -> Search:
    space = dimensions(["learning_rate=log(0.001,1)", "kd.temperature=1..8"], RECIPE)
    return Search(RECIPE, space, "top1", "maximize", trials, **named)  # type: ignore[arg-type]


def reached(task: Trying) -> Message:
    """Best at a rate of 0.1 and temperature 3."""
    rate = torch.tensor(task.recipe.learning_rate).log10()
    heat = float(task.recipe.method.partition("temperature=")[2].partition(")")[0])
    return Result(Tried("done", (0.0, 90.0 - float((rate + 1).abs()) * 10 - abs(heat - 3))))


def go(out: Path, pool: Pool, search_for: Search, stop: Stop | None = None) -> Any:
    return search(search_for, out, pool, stop or Stop(), lambda trial, study: None)


def test_it_finds_what_is_good(tmp_path: Path) -> None:
    pool = Pool(reached)
    study = go(tmp_path, pool, wanted(15))
    done = found(wanted(15), study, tmp_path, 0.0)
    assert len(pool.seen) == len(done.ranked) == 15
    assert 0.01 < done.recipe.learning_rate < 0.9
    assert done.best.value == max(each.value for each in study.trials)
    assert done.recipe.validation == 0.0
    assert Recipe.read(tmp_path / "best" / "recipe.json") == done.recipe
    assert (tmp_path / "tune.png").read_bytes().startswith(b"\x89PNG")
    assert set(done.mattered) == {"learning_rate", "kd.temperature"}
    chosen = {each.recipe.method for each in pool.seen}
    assert done.recipe.method in chosen


def test_what_cuts_no_images_off_watches_none(tmp_path: Path) -> None:
    watching = replace(wanted(1), recipe=RECIPE.but(watch=("knn",), best_by="knn"), metric="knn")
    study = go(tmp_path, Pool(reached), watching)
    recipe = found(watching, study, tmp_path, 0.0).recipe
    assert (recipe.validation, recipe.watch, recipe.best_by) == (0.0, (), None)
    recipe = found(watching, study, tmp_path, 0.1).recipe
    assert (recipe.validation, recipe.watch, recipe.best_by) == (0.1, ("knn",), "knn")


def test_what_was_given_up_is_not_told_as_finished() -> None:
    study = optuna.create_study(direction="maximize")
    trial = study.ask({"learning_rate": optuna.distributions.FloatDistribution(0.001, 1, log=True)})
    trial.report(12.5, 1)
    trial.set_user_attr("reason", "given up after epoch 1")
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    search_for = replace(wanted(3), space=wanted(3).space[:1])
    said = line_of(search_for, study.trials[0], study)
    assert said.startswith("[1/3] trial 0 (learning_rate ")
    assert said.endswith("): given up after epoch 1")


def test_one_seed_searches_alike(tmp_path: Path) -> None:
    pools = [Pool(reached) for _ in range(2)]
    for name, pool in zip("ab", pools, strict=True):
        go(tmp_path / name, pool, wanted(3))
    first, second = ([each.recipe for each in pool.seen] for pool in pools)
    assert first == second


def test_it_goes_on_with_what_is_there(tmp_path: Path) -> None:
    """Killed with two trials under way: these are tried again, and nothing else."""
    stop = Stop()

    class Killed(Exception):
        pass

    def dies(task: Trying) -> Message:
        if len(pool.seen) == 3:
            raise Killed
        return reached(task)

    pool = Pool(dies, size=2)
    with pytest.raises(Killed):
        go(tmp_path, pool, wanted(6), stop)
    lost = [pool.seen[-1].recipe, *(task.recipe for _, task in pool.tasks)]
    again = Pool(reached)
    study = go(tmp_path, again, wanted(6))
    assert [each.recipe for each in again.seen[:2]] in (lost, lost[::-1])
    assert len(again.seen) == 4
    assert len(finished(study)) == 6
    assert not go(tmp_path, Pool(reached), wanted(6)).get_trials(
        states=(optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.WAITING)
    )
    more = Pool(reached)
    go(tmp_path, more, wanted(8))
    assert len(more.seen) == 2
    assert not {each.recipe.learning_rate for each in more.seen} & {
        each.recipe.learning_rate for each in (*pool.seen, *again.seen)
    }


def test_it_stops_when_asked_and_loses_nothing(tmp_path: Path) -> None:
    stop = Stop()

    def asked(task: Trying) -> Message:
        if len(pool.seen) == 2:
            stop.signum = 15
            return Result(Tried("stopped"))
        return reached(task)

    pool = Pool(asked)
    with pytest.raises(Interrupted):
        go(tmp_path, pool, wanted(4), stop)
    again = Pool(reached)
    study = go(tmp_path, again, wanted(4))
    assert again.seen[0].recipe == pool.seen[1].recipe
    assert len(finished(study)) == 4


def test_a_trial_whose_process_dies_is_tried_once_more(tmp_path: Path) -> None:
    def killed(task: Trying) -> Message:
        return Died("its process was ended by SIGKILL") if len(pool.seen) < 3 else reached(task)

    pool = Pool(killed)
    study = go(tmp_path, pool, wanted(3))
    first, again, *others = (each.recipe for each in pool.seen)
    assert first == again
    assert all(each != first for each in others)
    assert len(finished(study)) == 3  # of which one died twice
    assert len(pool.seen) == 4


def test_what_fails_stops_nothing_but_three_times(tmp_path: Path) -> None:
    def fails(task: Trying) -> Message:
        kind = "not finite" if len(pool.seen) == 1 else "failed"
        if len(pool.seen) == 3:
            return reached(task)
        return Result(Tried(kind, reason="the loss is infinite"))  # type: ignore[arg-type]

    pool = Pool(fails)
    study = go(tmp_path / "some", pool, wanted(4))
    states = [each.state.name for each in study.trials]
    assert states == ["PRUNED", "FAIL", "COMPLETE", "FAIL"]
    assert study.trials[1].user_attrs["reason"] == "the loss is infinite"
    with pytest.raises(Fault, match="the first 3 trials failed, the last one so: no"):
        go(tmp_path / "all", Pool(lambda task: Result(Tried("failed", reason="no"))), wanted(9))


def test_another_search_does_not_go_on_there(tmp_path: Path) -> None:
    go(tmp_path, Pool(reached), wanted(1))
    other = wanted(2)
    for changed, said in (
        (Search(RECIPE.but(epochs=3), other.space, "top1", "maximize", 2), "epochs: 30 there, 3"),
        (Search(RECIPE, other.space[:1], "top1", "maximize", 2), "search: learning_rate=log"),
        (Search(RECIPE.but(speed="fast"), other.space, "top1", "maximize", 2), "speed: exact th"),
    ):
        with pytest.raises(Fault, match=f"holds another search .{said}"):
            go(tmp_path, Pool(reached), changed)


def test_another_teacher_is_another_search_and_one_that_moved_is_not(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    rows = torch.eye(4).numpy()
    for name, table in (("a", rows), ("moved", rows), ("other", 2 * rows)):
        np.save(tmp_path / f"{name}.npy", table)
    network = torch.nn.Linear(2, 2)
    save_weights(network, tmp_path / "one.safetensors")
    save_weights(network, tmp_path / "same.safetensors")
    save_weights(torch.nn.Linear(2, 2), tmp_path / "two.safetensors")

    def taught(file: str, network: str, weight: int = 1) -> Search:
        teacher = f"table:{tmp_path / file}.npy,net@{tmp_path / network}.safetensors={weight}"
        return replace(wanted(1), recipe=RECIPE.but(teacher=teacher))

    go(tmp_path / "out", Pool(reached), taught("a", "one"))
    go(tmp_path / "out", Pool(reached), taught("moved", "same"))
    for other in (taught("other", "one"), taught("a", "two"), taught("a", "one", 2), wanted(1)):
        with pytest.raises(Fault, match=r"another search \(its trials learnt from another teacher"):
            go(tmp_path / "out", Pool(reached), other)


def test_less_may_be_better(tmp_path: Path) -> None:
    down = Search(RECIPE, wanted(1).space, "gap_cosine", "minimize", 5)
    study = go(tmp_path, Pool(reached), down)
    done = found(down, study, tmp_path, 0.1)
    values = [each.value or 0.0 for each in done.ranked]
    assert values == sorted(values)


def test_none_that_was_trained_is_said(tmp_path: Path) -> None:
    gone = Pool(lambda task: Result(Tried("not finite", reason="infinite")))
    study = go(tmp_path, gone, wanted(2))
    with pytest.raises(Fault, match="none of 2 trials"):
        found(wanted(2), study, tmp_path, 0.0)


def test_a_trial_looks_at_no_test_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from relatum.run import prepare as place
    from relatum.run.sets import sets_of

    def blind(*args: object) -> object:
        sets = sets_of(*args)  # type: ignore[arg-type]
        test = sets.test
        assert isinstance(test, Resident)

        closed: Any = Closed(test.images, test.labels)
        return replace(sets, test=closed)

    monkeypatch.setattr(place, "sets_of", blind)
    recipe = Recipe(epochs=2, validation=0.1, watch_test=True, batch_size=256)
    task = Trying(recipe, tmp_path, "top1", {"number": 0})
    result = task(torch.device("cpu"), Stop(), lambda message: None)
    tried = result.value
    assert isinstance(tried, Tried)
    assert tried.kind == "done", tried.trace
    kept = json.loads((tmp_path / "trial.json").read_text())
    assert kept["values"] == list(tried.values)
    assert len(tried.values) == 2
    assert all(0 <= each <= 100 for each in tried.values)
    assert [path.name for path in tmp_path.iterdir()] == ["trial.json"]


def test_what_is_watched_at_intervals_is_judged_then(tmp_path: Path) -> None:
    recipe = Recipe(epochs=3, samples=100, validation=0.1, batch_size=50)
    recipe = recipe.but(watch=("knn",), best_by="knn", watch_every=2)
    task = Trying(recipe, tmp_path, "knn", {})
    tried = task(torch.device("cpu"), Stop(), lambda message: None).value
    assert isinstance(tried, Tried)
    assert tried.kind == "done", tried.trace
    assert len(tried.values) == 2  # after the second epoch, and the last
    often = replace(task, recipe=recipe.but(watch_every=1))
    every = often(torch.device("cpu"), Stop(), lambda message: None).value
    assert isinstance(every, Tried)
    assert tried.values == every.values[1:]


def test_a_database_that_does_not_open_fails_the_trial_alone(tmp_path: Path) -> None:
    nowhere = f"sqlite:///{tmp_path}/nowhere/study.db"
    task = Trying(Recipe(validation=0.1), tmp_path, "top1", {}, pruned=(nowhere, "name", 0))
    tried = task(torch.device("cpu"), Stop(), lambda message: None).value
    assert isinstance(tried, Tried)
    assert tried.kind == "failed"
    assert "cannot be opened" in tried.reason
    assert (tmp_path / "trial.json").exists()


@pytest.mark.parametrize("name", ["plain", "a b#c", "a?b=c", "50%25"])
def test_the_database_lies_in_the_folder_or_its_name_is_refused(name: str, tmp_path: Path) -> None:
    from relatum.tune.storage import opened

    out = tmp_path / name
    out.mkdir()
    try:
        address = address_of(out)
    except Fault:  # of a SQLAlchemy that does not quote them
        assert set(name) & set("?%")
        return
    opened(address)
    assert (out / DATABASE).is_file()
