"""The search itself: trials go out to a pool, and what they reach comes into one database."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from relatum.bench.pool import Died, Message, Pool, Result
from relatum.checkpoint import Interrupted, Stop
from relatum.recipes.recipe import Recipe
from relatum.tune.identity import about, difference
from relatum.tune.space import Dimension, Value, applied
from relatum.tune.storage import opened, optuna, pruner
from relatum.tune.trial import Tried, Trying
from relatum.types import Fault

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

DATABASE, TRIALS = "study.db", "trials"
TRIES = 2
"""How often a trial is begun whose process died under it."""
FAILURES = 3
"""Trials that fail by themselves, and none that does not, before the search is given up."""


@dataclass(frozen=True)
class Search:
    """What is searched, and how.

    Attributes:
        recipe: what is varied.
        space: what of it.
        metric: what is judged by, on the validation part, after the last epoch.
        direction: whether more of it is better, or less.
        trials: how many there shall be in the end, those of before included.
        seed: of what is tried.
        prune: whether a trial that looks worse than most is given up early.
        storage: address of the database; a SQLite file in the search's folder when ``None``.
    """

    recipe: Recipe
    space: tuple[Dimension, ...]
    metric: str
    direction: Literal["maximize", "minimize"]
    trials: int
    seed: int = 0
    prune: bool = False
    storage: str | None = None

    def recipe_of(self, values: dict[str, Any]) -> Recipe:
        """The recipe with what a trial tries."""
        return applied(self.recipe, self.rounded(values))

    def rounded(self, values: dict[str, Any]) -> dict[str, Value]:
        """What a trial tries, with the digits that are tried."""
        return {each.name: each.rounded(values[each.name]) for each in self.space}


Say = Callable[["FrozenTrial", "Study"], None]


def search(
    wanted: Search,
    out: Path,
    pool: Pool,
    stop: Stop,
    say: Say,
    workers: int = 1,
    begun: Callable[[], None] = lambda: None,
) -> "Study":
    """Try settings until there are as many trials as wanted; finished ones are never lost.

    What was under way when the search was killed, or when its process died, is tried again.

    Args:
        wanted: what to search.
        out: the folder of the search.
        pool: where trials run.
        stop: asked meanwhile.
        say: told of every trial that ended.
        workers: how many trials run at once.
        begun: told when nothing forbids the search any more, before its first trial.

    Raises:
        Fault: the database is of another search, or trials cannot be run.
        Interrupted: it was asked to stop; what was under way is tried again by the next search.
    """
    address = wanted.storage or address_of(out)
    study = _study(wanted, out, address, workers)
    begun()
    for trial in _running(study, out):
        _again(study, trial.number, trial._trial_id, "the search ended before it did")
    return _Searching(wanted, out, pool, stop, say, study, address).go()


def address_of(out: Path) -> str:
    """Where the database of a search lies, which is in its folder.

    Raises:
        Fault: the folder's path has what this SQLAlchemy cannot write in an address.
    """
    optuna()  # says what to install
    from sqlalchemy.engine import URL, make_url

    path = str((out / DATABASE).resolve())
    address = URL.create("sqlite", database=path).render_as_string(hide_password=False)
    if make_url(address).database != path:
        raise Fault(f"{path}: the address of a database cannot have ? or %; choose another --out")
    return address


def name_of(out: Path) -> str:
    """What a search is called in its database."""
    return out.resolve().name


def finished(study: "Study") -> "list[FrozenTrial]":
    """The trials that count: all that ended by themselves."""
    ended = (each for each in study.get_trials(deepcopy=False) if each.state.is_finished())
    return [each for each in ended if "died" not in each.user_attrs]


class _Searching:
    def __init__(
        self,
        wanted: Search,
        out: Path,
        pool: Pool,
        stop: Stop,
        say: Say,
        study: "Study",
        address: str,
    ) -> None:
        self._wanted, self._out, self._pool = wanted, out, pool
        self._stop, self._say, self._study, self._address = stop, say, study, address
        self._under_way: dict[str, Trial] = {}

    def go(self) -> "Study":
        try:
            self._stop.check()
            while self._begin() or self._under_way:
                self._hear(self._pool.wait(0.2))
                self._stop.check()
        except Interrupted:
            self._pool.stop()
            while self._under_way:
                self._hear(self._pool.wait(0.2))
            raise
        return self._study

    def _begin(self) -> bool:
        """Begin as many trials as there is room for, and are wanted."""
        begun = False
        while self._pool.room and len(finished(self._study)) + len(self._under_way) < (
            self._wanted.trials
        ):
            trial = self._study.ask(distributions(self._wanted.space))
            trial.set_user_attr("place", str(self._out.resolve()))
            self._under_way[str(trial.number)] = trial
            self._pool.submit(str(trial.number), self._task(trial))
            begun = True
        return begun

    def _task(self, trial: "Trial") -> Trying:
        values = self._wanted.rounded(trial.params)
        return Trying(
            recipe=self._wanted.recipe_of(trial.params),
            folder=self._out / TRIALS / f"{trial.number:03}",
            metric=self._wanted.metric,
            about={"number": trial.number, "values_tried": values},
            pruned=(self._address, self._study.study_name, trial._trial_id)
            if self._wanted.prune
            else None,
        )

    def _hear(self, told: Sequence[tuple[str, Message]]) -> None:
        for key, message in told:
            if isinstance(message, Result | Died) and key in self._under_way:
                trial = self._under_way.pop(key)
                self._end(trial, message)
                self._say(self._study.trials[trial.number], self._study)

    def _end(self, trial: "Trial", message: Result | Died) -> None:
        state = optuna().trial.TrialState
        if isinstance(message, Died):
            _again(self._study, trial.number, trial._trial_id, message.reason)
            return
        tried = message.value
        assert isinstance(tried, Tried)
        trial.set_user_attr("seconds", round(tried.seconds, 3))
        trial.set_user_attr("values", list(tried.values))
        if tried.reason:
            trial.set_user_attr("reason", tried.reason)
        if tried.kind == "stopped":
            _again(self._study, trial.number, trial._trial_id, "stopped")
        elif tried.kind == "done":
            self._study.tell(trial, tried.values[-1])
        elif tried.kind == "failed":
            self._study.tell(trial, state=state.FAIL)
            self._give_up(tried)
        else:  # to the sampler, a trial that did not stay finite is the worst of all
            self._study.tell(trial, state=state.PRUNED)

    def _give_up(self, tried: Tried) -> None:
        state = optuna().trial.TrialState
        ended = finished(self._study)
        if len(ended) >= FAILURES and all(each.state == state.FAIL for each in ended):
            raise Fault(f"the first {len(ended)} trials failed, the last one so: {tried.reason}")


def distributions(space: Sequence[Dimension]) -> dict[str, Any]:
    """What Optuna calls what is searched."""
    package = optuna().distributions
    found: dict[str, Any] = {}
    for each in space:
        low, high = each.ends
        if each.choices:
            found[each.name] = package.CategoricalDistribution(each.choices)
        elif each.whole:
            found[each.name] = package.IntDistribution(low, high, log=each.log)
        else:
            found[each.name] = package.FloatDistribution(low, high, log=each.log)
    return found


def _study(wanted: Search, out: Path, address: str, workers: int) -> "Study":
    """The study of this search, begun or gone on with."""
    package = optuna()
    out.mkdir(parents=True, exist_ok=True)
    storage = opened(address)
    study: Study = package.create_study(
        study_name=name_of(out),
        storage=storage,
        direction=wanted.direction,
        load_if_exists=True,
        pruner=pruner() if wanted.prune else package.pruners.NopPruner(),
    )
    asked = about(wanted.recipe, wanted.space, wanted.metric)
    known = study.user_attrs
    if other := difference(known, asked):
        raise Fault(f"{address} holds another search ({other}); choose another --out")
    for name in asked.keys() - known.keys():
        study.set_user_attr(name, asked[name])
    # A sampler that goes on shall not draw again what it drew before it was killed.
    seed = wanted.seed + len(study.get_trials(deepcopy=False))
    study.sampler = package.samplers.TPESampler(seed=seed, constant_liar=workers > 1)
    return study


def _running(study: "Study", out: Path) -> "Iterator[FrozenTrial]":
    """Trials of this folder that nobody is at any more: whoever was would hold it."""
    state = optuna().trial.TrialState
    for each in study.get_trials(deepcopy=False, states=(state.RUNNING,)):
        if each.user_attrs.get("place", str(out.resolve())) == str(out.resolve()):
            yield each


def _again(study: "Study", number: int, identity: int, why: str) -> None:
    """Fail a trial whose process is gone, and put what it tried back into the queue."""
    state = optuna().trial.TrialState
    trial = study.trials[number]
    tries = int(trial.user_attrs.get("tries", 1))
    study._storage.set_trial_user_attr(identity, "reason", why)
    outside = why == "stopped" or why.startswith("the search")
    if outside or tries < TRIES:
        study._storage.set_trial_user_attr(identity, "died", True)
        tries += not outside
        study.enqueue_trial(trial.params, user_attrs={"tries": tries})
    study.tell(number, state=state.FAIL)
