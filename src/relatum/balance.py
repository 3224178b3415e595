"""Weights by which the terms of an objective begin with given shares of the pull at the student."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import torch

from relatum import together
from relatum.distiller import Distiller
from relatum.gradient_norms import EMBEDDING, measure_norms
from relatum.method_names import TASK
from relatum.objective import Objective
from relatum.schedules import weighed
from relatum.types import Batch, Fault

Shares = Mapping[str, float] | Literal["equal"]
BATCHES = 8
"""Batches over which norms of gradients are averaged."""


@dataclass(frozen=True)
class Balanced:
    """What was found.

    Attributes:
        weights: of the terms, by name; of one that changes as training proceeds, its last.
        places: the tap at which each term's gradient was measured.
    """

    weights: Mapping[str, float]
    places: Mapping[str, str]

    @property
    def text(self) -> str:
        """In a sentence."""
        found = ", ".join(f"{name} {weight:.4g}" for name, weight in self.weights.items())
        if len(set(self.places.values())) == 1:
            return f"balanced at the {next(iter(self.places.values()))}: weights {found}"
        where = ", ".join(f"{name} at {place}" for name, place in self.places.items())
        return (
            f"balanced: weights {found}; no tap is reached by all terms, so their gradients were"
            f" measured where each reads ({where}), and the shares are of unlike things"
        )


def shares_of(shares: Shares, objective: Objective) -> dict[str, float]:
    """The share of each term, which together are 1. ``task`` means cross-entropy.

    Raises:
        Fault: there is one term alone, or not one share for each.
    """
    terms = list(objective.terms)
    if len(terms) < 2:
        raise Fault(
            f"balance shares among terms, and here is one alone ({terms[0]}); join it with another"
            " (--method sp+kd), or leave balance out"
        )
    if isinstance(shares, str):
        return dict.fromkeys(terms, 1 / len(terms))
    if {"task", TASK} <= shares.keys() and "task" not in terms:
        raise Fault(
            f"balance: 'task' is another name of {TASK!r}, which has two shares so; leave one out"
        )
    given = {
        TASK if name == "task" and name not in terms else name: shares[name] for name in shares
    }
    there = " and ".join((", ".join(terms[:-1]), terms[-1]))
    for name in (*given, *terms):
        if name not in terms:
            raise Fault(f"balance names {name!r}; the terms are {there} (or 'equal' for all)")
        if name not in given:
            raise Fault(
                f"balance gives {name!r} no share; the terms are {there} (or 'equal' for all)"
            )
    most = max(given.values())  # before they are summed: the sum of what is allowed may be infinite
    parts = {name: given[name] / most for name in terms}
    wanted = {name: part / sum(parts.values()) for name, part in parts.items()}
    for name, share in wanted.items():
        if not 0 < share < float("inf"):
            raise Fault(
                f"balance: the share of {name!r} is {given[name]:g} beside {most:g}, which is"
                " nothing; give shares that are nearer to each other"
            )
    return wanted


def balance(distiller: Distiller, batches: Iterable[Batch], shares: Shares) -> Balanced:
    r"""Find the weights by which terms begin with these shares of the pull at the student.

    .. math:: w_i = \frac{s_i}{n_i}\, P, \qquad n_i = \operatorname{mean}_b
        \left\| \frac{\partial L_i}{\partial Z_b} \right\|_F

    :math:`s_i` are the shares and :math:`n_i` the norms of the unweighted terms' gradients with
    respect to the student's embedding, or, where one of them does not get there (as a loss on
    feature maps), to a tap that all reach; where there is none, each at its own. :math:`P` is the
    pull of cross-entropy at weight 1, so that a learning rate that suits the student alone goes
    on to suit it; without cross-entropy, that of the first term at the weight it has.

    The student is in training mode for a while. Nothing of it moves: its statistics, its heads,
    queues and banks, and all randomness are put back, to the bit. Of several processes all call
    it, and get the same.

    Args:
        distiller: begins.
        batches: the first eight are read.
        shares: of each term by name, or ``"equal"``.

    Raises:
        Fault: a term has no gradient, or one that is not finite; a weight ends at 0; or the
            shares do not fit.
    """
    objective = distiller.objective
    wanted = shares_of(shares, objective)
    first = TASK if TASK in objective.terms else next(iter(objective.terms))
    _check_ends(objective, first)
    distiller.begin_alike()
    norms, places = norms_of(distiller, list(islice(batches, BATCHES)))
    for name, norm in norms.items():
        if not 0 < norm < float("inf"):
            what = "no gradient" if norm == 0 else "a gradient that is not finite"
            raise Fault(
                f"balance: the term {name!r} has {what} at the student's first step, so no weight"
                " gives it a share; leave balance out and weigh the terms by hand"
            )
    pull = norms[first] * (1.0 if first == TASK else objective.terms[first].weight_at(1.0))
    weights = {name: wanted[name] * pull / norms[name] for name in norms}
    _check_weights(weights)
    return Balanced(weights, places)


def _check_weights(weights: Mapping[str, float]) -> None:
    """Refuse weights that float32, in which losses are weighed, makes 0 or infinite of."""
    limits = torch.finfo(torch.float32)
    for name, weight in weights.items():
        if not limits.tiny <= weight <= limits.max:
            raise Fault(
                f"balance: the share of {name!r} wants a weight of {weight:g}, which float32 does"
                " not hold; give shares that are nearer to each other"
            )


def _check_ends(objective: Objective, first: str) -> None:
    """Refuse weights that no factor brings to a share: those that end at nothing.

    Raises:
        Fault: a weight that changes ends at 0, or it is 0 of the term that the others go by.
    """
    for name, term in objective.terms.items():
        counted = callable(term.weight) or (name == first and name != TASK)
        if counted and term.weight_at(1.0) == 0:
            raise Fault(
                f"balance: the weight of the term {name!r} ends at 0, where it would have its"
                " share; leave balance out and weigh the terms by hand"
            )


def weigh(objective: Objective, weights: Mapping[str, float]) -> None:
    """Give terms other weights; one that changes, as in a warm-up, ends at it."""
    for name, weight in weights.items():
        term = objective.terms[name]
        objective.terms[name] = replace(term, weight=weighed(term.weight, weight))
    objective.at(0.0)


def norms_of(
    distiller: Distiller, batches: Sequence[Batch]
) -> tuple[dict[str, float], dict[str, str]]:
    """The mean norm of each unweighted term's gradient, at one tap for all where there is one.

    Returns:
        The norms, and the tap at which each was taken (empty where there is no gradient), by term.
    """
    with learning(distiller):
        found = measure_norms(distiller, batches[0], weighted=False)
        place = EMBEDDING
        for other in dict.fromkeys(each for each in found.places.values() if each):
            if len(set(found.places.values())) == 1:
                break
            at_other = measure_norms(distiller, batches[0], weighted=False, at=other)
            if set(at_other.places.values()) == {other}:
                found, place = at_other, other
        values = [found.values]
        for batch in batches[1:]:
            values.append(measure_norms(distiller, batch, weighted=False, at=place).values)
    rows = torch.stack([torch.stack(list(each.values())) for each in values])
    means: list[float] = together.by_first(lambda: rows.double().mean(0).tolist())
    return dict(zip(found.values, means, strict=True)), dict(found.places)


@contextmanager
def learning(distiller: Distiller) -> Iterator[None]:
    """Have what learns in training mode and not compiled, for a while."""
    learner = distiller.learner
    modes = [(module, module.training) for module in learner.modules()]
    compiled, learner._compiled = learner._compiled, None
    distiller.train()
    try:
        yield
    finally:
        learner._compiled = compiled
        for module, training in modes:
            module.training = training
