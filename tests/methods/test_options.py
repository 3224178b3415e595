"""What a loss is built with can be said in a method's name, and all of it reaches the loss."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from relatum.grammar import parse, split, stages
from relatum.method_names import Part, written
from relatum.methods import METHODS, Setting
from relatum.methods.example import example
from relatum.methods.options import options_of
from relatum.types import Fault

DISTILLED = [name for name, method in METHODS.items() if method.family != "task"]
OPTIONS = [(name, option) for name in DISTILLED for option in METHODS[name].options]


def own_losses(name: str, setting: Setting, options: str = "") -> list[Any]:
    """The losses of a method's own class, of all its stages."""
    method = METHODS[name]
    built = stages(f"{name}({options})" if options else name, setting)
    terms = [term for stage in built for term in stage.objective.terms.values()]
    return [term.loss for term in terms if type(term.loss) is method.loss]


def loss(name: str, options: str = "") -> Any:
    (found,) = own_losses(name, example(), options)
    return found


def drawn(key: Tensor) -> int | None:
    """The seed by which a loss draws, of those that a test asks for; ``None`` for another."""

    def first(seed: int) -> int:
        return int(torch.randint(2**31, (), generator=torch.Generator().manual_seed(seed)))

    return next((seed for seed in range(9) if first(seed) == int(key)), None)


def head(learns: bool) -> str:
    """Which of RRD's heads of the teacher it is, by whether it learns."""
    return "trainable" if learns else "frozen"


# where a built loss shows what it was built with, if not in an attribute of the argument's name
SHOWN: dict[tuple[str, str], Callable[[Any], object]] = {
    ("LSKD", "temperature"): lambda loss: loss.loss.temperature,
    ("MLKD", "temperature"): lambda loss: loss.temperature[0],
    ("FitNet", "relu"): lambda loss: any(type(each) is nn.ReLU for each in loss.modules()),
    ("VIDStages", "eps"): lambda loss: loss.stages[0].eps,
    ("VIDStages", "initial_variance"): lambda loss: float(
        softplus(loss.stages[0].log_scale.detach().double()[0]) + loss.stages[0].eps
    ),
    ("ReviewKD", "middle_channels"): lambda loss: loss.stages[0].enter[0].out_channels,
    ("RRD", "dim"): lambda loss: loss.student_head.out_features,
    ("RRD", "queue_size"): lambda loss: len(loss.queue),
    ("RRD", "teacher_head"): lambda loss: head(loss.teacher_head.weight.requires_grad),
    ("RKD", "triplets"): lambda loss: loss.angle.triplets,
    ("RKD", "seed"): lambda loss: drawn(loss.angle.key),
    ("CC", "dim"): lambda loss: loss.student_head.out_features,
    ("CRD", "dim"): lambda loss: loss.student_head.out_features,
    ("CRD", "seed"): lambda loss: drawn(loss.key),
    ("DCD", "dim"): lambda loss: loss.student_head.out_features,
}
BESIDES = {("rkd", "seed"): "triplets=5,"}
"""What an option is refused without."""
ANOTHER: dict[tuple[str, str], object] = {("rrkd", "kind"): "mse", ("lp", "sigma"): 0.7}


def shown(name: str, option: str, loss: Any) -> object:
    """What a built loss has of one of its options."""
    reader = SHOWN.get((METHODS[name].loss.__name__, option))
    return reader(loss) if reader is not None else getattr(loss, option)


def another(name: str, option: str, now: object) -> object:
    """A value that an option can have and has not."""
    if (name, option) in ANOTHER:
        return ANOTHER[name, option]
    words = METHODS[name].options[option].words
    if words:
        return next(word for word in words if word != now)
    if now is None:  # a whole number, if asked for
        return 7
    if isinstance(now, bool):
        return not now
    assert isinstance(now, int | float)
    return now // 2 if int in METHODS[name].options[option].kinds else now / 2


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_each_option_of_each_method_reaches_its_loss(name: str, option: str) -> None:
    besides = BESIDES.get((name, option), "")
    usual = shown(name, option, loss(name, besides.rstrip(",")))
    value = another(name, option, usual)
    assert value != usual
    found = shown(name, option, loss(name, f"{besides}{option}={value}"))
    assert found == (pytest.approx(value) if isinstance(value, float) else value)


@dataclass(frozen=True)
class Watched(Setting):
    """Notes what is built through it."""

    built: list[nn.Module] = field(default_factory=list)

    def build(self, loss: Any, *fitted: Any, **usual: Any) -> Any:
        made = super().build(loss, *fitted, **usual)
        self.built.append(made)
        return made


@pytest.mark.parametrize("name", DISTILLED)
def test_each_method_builds_its_own_loss_through_the_setting_and_no_other(name: str) -> None:
    setting = Watched(**vars(example()))
    found = own_losses(name, setting)
    assert len(setting.built) == 1
    assert found == setting.built
    assert type(setting.built[0]) is METHODS[name].loss


@pytest.mark.parametrize("name", DISTILLED)
def test_what_is_fitted_to_the_networks_is_no_option(name: str) -> None:
    there = METHODS[name].options
    assert not {each for each in there if each.startswith(("student_", "teacher_"))} - {
        *("student_temperature", "teacher_temperature", "teacher_head"),
    }
    assert "labels" not in there


def test_they_are_the_method_s_own_loss_s_alone() -> None:
    (stage,) = stages("lp(neighbours=3)", example())
    assert getattr(stage.objective.terms["lp"].loss, "neighbours", None) == 3
    assert getattr(stage.objective.terms["soft"].loss, "temperature", None) == 1.0
    (stage,) = stages("lp+kd(temperature=8)", example())
    assert getattr(stage.objective.terms["soft"].loss, "temperature", None) == 1.0
    assert getattr(stage.objective.terms["kd"].loss, "temperature", None) == 8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kd(temprature=2)", "nearest is 'temperature'"),
        ("kd(temperature=hot)", "temperature is a number, got 'hot'"),
        ("kd(temperature=true)", "temperature is a number, got True"),
        ("rrd(queue_size=1.5)", "a whole number"),
        ("sp(batch_invariant=1)", "true or false"),
        ("rrd(student_dim=4)", "has no option 'student_dim'"),
        ("rrd(enqueue=befor)", "enqueue is 'before' or 'after', got 'befor'"),
        ("lp(sigma=medium)", "sigma is a number or 'median', got 'medium'"),
        ("cc(kind=rbf)", "^cc has no option 'kind'; that is for the method 'cc-rbf'$"),
        ("cc(gamma=0.2)+kd", "cc has no option 'gamma'; that is for the method 'cc-rbf'"),
        ("cc-rbf(kind=adjacent)", "has no option 'kind'; that is for the method 'cc'"),
        ("kd(temperature)", r"options are kd\(name=value"),
        ("kd(temperature=1,temperature=2)", "there twice"),
        ("none(label_smoothing=0.1)", "has no options"),
        ("pkt(eps=1)", "it has none"),
    ],
)
def test_what_there_is_not_is_refused(text: str, said: str) -> None:
    with pytest.raises(Fault, match=said):
        parse(text)


def test_what_is_elsewhere_is_there() -> None:
    pairs = [
        (method, option, other)
        for method in METHODS.values()
        for option, other in method.elsewhere.items()
    ]
    assert pairs
    for method, option, other in pairs:
        assert METHODS[other].loss is method.loss
        assert option in options_of(method.loss)
        assert option in METHODS[other].options or METHODS[other].elsewhere[option] != other


def test_a_loss_refuses_what_it_cannot_be() -> None:
    with pytest.raises(Fault, match="temperature"):
        stages("kd(temperature=-1)", example())


def test_a_name_is_read_and_written() -> None:
    text = "sp@maps=3000.0+rrd(queue_size=64,enqueue=after)+kd(temperature=2.5)@output=0.1"
    assert written(parse(text)) == text
    assert parse("rrd( queue_size = 64 )")[0] == Part("rrd", None, None, (("queue_size", 64),))
    methods = "kd(temperature=2),rrd(queue_size=64,enqueue=after)"
    assert split(methods) == ["kd(temperature=2)", "rrd(queue_size=64,enqueue=after)"]


class Own(nn.Module):
    """A user's loss."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, student: Tensor) -> Tensor:
        return self.alpha * student.square().mean()


def test_a_user_s_own_loss_has_them_too() -> None:
    (stage,) = stages(f"{__file__}:Own(alpha=3)@embedding", example())
    term = stage.objective.terms["Own"]
    assert getattr(term.loss, "alpha", None) == 3
    assert list(options_of(Own)) == ["alpha"]
    with pytest.raises(Fault, match="no option 'alhpa'; the nearest is 'alpha'"):
        stages(f"{__file__}:Own(alhpa=3)@embedding", example())
