"""Terms begin with the shares that were asked for, and looking for the weights moves nothing."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relatum.balance import balance, shares_of, weigh
from relatum.distiller import Distiller
from relatum.losses import KD, RRD, SP, CrossEntropy
from relatum.objective import Objective, Term
from relatum.taps import Tap, Tapped
from relatum.teachers import Teacher
from relatum.types import Fault
from relatum.views import View
from tests.toys import batches, same, state, student, teacher


def distiller(**terms: Term) -> Distiller:
    return Distiller(student(), teacher(), Objective(**terms))


def pull(distiller: Distiller, tap: str, name: str, **given: Any) -> float:
    """The mean norm of a weighted term's gradient over the first eight batches, by hand.

    Dropout and BatchNorm are those of training: the state of randomness is that of the search.
    """
    norms: list[float] = []
    source = batches(**given)
    for number, batch in enumerate(source.epoch(1)):
        if number == 8:
            break
        before = {key: value.clone() for key, value in distiller.learner.state_dict().items()}
        with torch.random.fork_rng():
            assert distiller.teacher is not None
            distiller.train()
            said = distiller.student.read(distiller.student.prepare(batch.images))
            taught = distiller.teacher(batch)
            losses = distiller.objective(said, taught, batch, batch.images)
            term = distiller.objective.terms[name]
            part = _again(term, said, taught, batch)
            assert torch.isclose(part.detach(), losses.parts[name], rtol=1e-5)
            value = said.taps[tap]
            assert isinstance(value, Tensor)
            (gradient,) = torch.autograd.grad(term.weight_at(1.0) * part, value)
            norms.append(float(gradient.norm()))
        distiller.learner.load_state_dict(before)
    return sum(norms) / len(norms)


def _again(term: Term, said: Any, taught: Any, batch: Any) -> Tensor:
    on = term.on
    assert isinstance(on, str)
    if isinstance(term.loss, CrossEntropy):
        return nn.functional.cross_entropy(said.output, batch.labels)
    found: Tensor = term.loss(said.read(on), taught.read(on))
    return found


def test_terms_have_their_shares_at_the_embedding() -> None:
    pair = distiller(ce=Term(CrossEntropy()), kd=Term(KD(), weight=7.0))
    torch.manual_seed(3)
    found = balance(pair, batches().epoch(1), {"ce": 1.0, "kd": 3.0})
    assert set(found.places.values()) == {"embedding"}
    alone = pull(pair, "embedding", "ce")
    weigh(pair.objective, found.weights)
    assert pull(pair, "embedding", "ce") == pytest.approx(0.25 * alone, rel=1e-4)
    assert pull(pair, "embedding", "kd") == pytest.approx(0.75 * alone, rel=1e-4)


def test_a_loss_on_maps_is_compared_where_all_are_felt() -> None:
    pair = distiller(ce=Term(CrossEntropy()), sp=Term(SP(), on="maps", weight=3000.0))
    found = balance(pair, batches().epoch(1), "equal")
    assert set(found.places.values()) == {"maps"}
    weigh(pair.objective, found.weights)
    assert pull(pair, "maps", "ce") == pytest.approx(pull(pair, "maps", "sp"), rel=1e-4)


def test_without_cross_entropy_the_first_term_keeps_its_pull() -> None:
    pair = distiller(sp=Term(SP(), on="embedding", weight=50.0), kd=Term(KD()))
    alone = pull(pair, "embedding", "sp")
    found = balance(pair, batches().epoch(1), "equal")
    assert found.weights["sp"] == pytest.approx(25.0)
    weigh(pair.objective, found.weights)
    assert pull(pair, "embedding", "kd") == pytest.approx(alone / 2, rel=1e-4)


def test_nothing_moves() -> None:
    pair = distiller(
        ce=Term(CrossEntropy()),
        rrd=Term(RRD(4, 6, dim=3, queue_size=40), on="embedding"),
    )
    before, drawn = state(pair.learner), torch.get_rng_state()
    modes = [each.training for each in pair.learner.modules()]
    balance(pair, batches().epoch(1), "equal")
    assert same(before, state(pair.learner))
    assert torch.equal(drawn, torch.get_rng_state())
    assert modes == [each.training for each in pair.learner.modules()]
    assert all(each.grad is None for each in pair.learner.parameters())


def test_a_weight_that_changes_ends_where_it_was_found() -> None:
    rising = Term(KD(), weight=lambda progress: 4.0 * progress)
    objective = Objective(ce=Term(CrossEntropy()), kd=rising)
    weigh(objective, {"ce": 0.5, "kd": 3.0})
    assert [objective.terms["kd"].weight_at(each) for each in (0.0, 0.5, 1.0)] == [0.0, 1.5, 3.0]
    objective.at(0.5)
    assert objective.weights.tolist() == [0.5, 1.5]


class Mute(nn.Module):
    """Reads the student, and hears nothing."""

    def forward(self, student: Tensor) -> Tensor:
        return (student * 0).sum()


def test_a_term_without_a_gradient_is_named() -> None:
    pair = distiller(ce=Term(CrossEntropy()), mute=Term(Mute(), on="embedding"))
    with pytest.raises(Fault, match=r"'mute' has no gradient"):
        balance(pair, batches().epoch(1), "equal")


def test_a_share_that_float32_cannot_weigh_is_refused() -> None:
    pair = distiller(ce=Term(CrossEntropy()), kd=Term(KD()))
    with pytest.raises(Fault, match=r"share of 'kd' wants a weight of .*e-2.*nearer"):
        balance(pair, batches().epoch(1), {"ce": 1.0, "kd": 1e-200})


def test_shares_are_of_the_terms() -> None:
    objective = Objective(ce=Term(CrossEntropy()), sp=Term(SP(), on="maps"))
    assert shares_of({"task": 1, "sp": 3}, objective) == {"ce": 0.25, "sp": 0.75}
    assert shares_of("equal", objective) == {"ce": 0.5, "sp": 0.5}
    with pytest.raises(Fault, match="'task' is another name of 'ce', which has two shares"):
        shares_of({"ce": 1, "task": 1, "sp": 3}, objective)
    with pytest.raises(Fault, match="names 'kd'; the terms are ce and sp"):
        shares_of({"ce": 1, "kd": 3}, objective)
    with pytest.raises(Fault, match="gives 'sp' no share"):
        shares_of({"ce": 1}, objective)
    assert shares_of({"ce": 1e308, "sp": 1e308}, objective) == {"ce": 0.5, "sp": 0.5}
    with pytest.raises(Fault, match="the share of 'sp' is 1e-300 beside 1e\\+300"):
        shares_of({"ce": 1e300, "sp": 1e-300}, objective)
    with pytest.raises(Fault, match="here is one alone"):
        shares_of("equal", Objective(ce=Term(CrossEntropy())))


class Patches(nn.Module):
    """A network of tokens, whose classifier reads the first of them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed, self.norm = nn.Conv2d(1, width, 3, 3), nn.LayerNorm(width)
        self.mix, self.head = nn.Linear(4, 5), nn.Linear(width, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.mix(self.embed(images).flatten(2)).transpose(1, 2)
        logits: Tensor = self.head(self.norm(tokens)[:, 0])
        return logits


def test_a_map_of_tokens_is_compared_where_the_network_goes_on() -> None:
    torch.manual_seed(0)
    taps = {"maps": Tap("norm", view=View("map", prefix=1)), "embedding": Tap("head", "input")}
    objective = Objective(ce=Term(CrossEntropy()), sp=Term(SP(), on="maps", weight=5.0))
    pair = Distiller(Tapped(Patches(4), taps), Teacher(Patches(6), taps), objective)
    found = balance(pair, batches().epoch(1), "equal")
    assert found.places == {"ce": "maps", "sp": "maps"}
    assert "unlike" not in found.text
    assert pair.student.unlaid is None


@pytest.mark.parametrize("weight", [0.0, lambda progress: 1 - progress])
def test_a_weight_that_ends_at_nothing_is_refused(weight: Any) -> None:
    pair = distiller(kd=Term(KD(), weight=weight), sp=Term(SP(), on="embedding"))
    with pytest.raises(Fault, match="the weight of the term 'kd' ends at 0"):
        balance(pair, batches().epoch(1), "equal")
