"""What a loss is built with can be said in a method's name."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relatum.grammar import parse, split, stages
from relatum.losses import KD, LSKD
from relatum.methods import METHODS, Setting
from relatum.methods.options import built_with, check_options, options_of
from relatum.spelling import Part, written
from relatum.types import Fault

SHAPES: Any = {"output": torch.Size([2, 5]), "embedding": torch.Size([2, 8])}


@pytest.fixture
def setting() -> Setting:
    return Setting(
        student=SHAPES,
        teacher=SHAPES,
        student_says="logits",
        teacher_says="logits",
        samples=60,
        classes=5,
    )


def loss(text: str, name: str, setting: Setting) -> Any:
    return stages(text, setting)[-1].objective.terms[name].loss


def test_they_reach_the_loss(setting: Setting) -> None:
    assert loss("kd", "kd", setting).temperature == 4.0
    assert loss("kd(temperature=2)", "kd", setting).temperature == 2
    assert loss("rrkd+kd(temperature=1.5)=3", "kd", setting).temperature == 1.5
    assert loss("rrd(queue_size=16,enqueue=after)", "rrd", setting).queue.shape[0] == 16
    assert loss("ttm(gamma=0.5)", "ttm", setting).gamma == 0.5  # against what its method says


def test_they_are_the_method_s_own_loss_s_alone(setting: Setting) -> None:
    (stage,) = stages("lp(neighbours=3)", setting)
    assert stage.objective.terms["soft"].loss.temperature == 1.0
    with built_with(KD, (("temperature", 2.0),)):
        assert KD(temperature=9.0).temperature == 2.0
        assert isinstance(LSKD().loss, KD)
    assert KD(temperature=9.0).temperature == 9.0


def test_a_class_is_as_before_whatever_happens() -> None:
    before = KD.__init__
    with pytest.raises(ZeroDivisionError), built_with(KD, (("temperature", 2.0),)):
        raise ZeroDivisionError
    assert KD.__init__ is before
    assert "__init__" in vars(KD)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kd(temprature=2)", "nearest is 'temperature'"),
        ("kd(temperature=hot)", "temperature is a number, got 'hot'"),
        ("kd(temperature=true)", "temperature is a number, got True"),
        ("rrd(queue_size=1.5)", "a whole number"),
        ("sp(batch_invariant=1)", "true or false"),
        ("rrd(student_dim=4)", "has no option 'student_dim'"),
        ("kd(temperature)", r"options are kd\(name=value"),
        ("kd(temperature=1,temperature=2)", "there twice"),
        ("none(label_smoothing=0.1)", "has no options"),
        ("pkt(eps=1)", "it has none"),
    ],
)
def test_what_there_is_not_is_refused(text: str, said: str) -> None:
    with pytest.raises(Fault, match=said):
        parse(text)


def test_a_loss_refuses_what_it_cannot_be(setting: Setting) -> None:
    with pytest.raises(Fault, match="temperature"):
        stages("kd(temperature=-1)", setting)


def test_a_name_is_read_and_written() -> None:
    text = "sp@maps=3000.0+rrd(queue_size=64,enqueue=after)+kd(temperature=2.5)@output=0.1"
    assert written(parse(text)) == text
    assert parse("rrd( queue_size = 64 )")[0] == Part("rrd", None, None, (("queue_size", 64),))
    methods = "kd(temperature=2),rrd(queue_size=64,enqueue=after)"
    assert split(methods) == ["kd(temperature=2)", "rrd(queue_size=64,enqueue=after)"]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_asked(name: str) -> None:
    there = options_of(METHODS[name].loss)
    assert not {each for each in there if each.startswith(("student_", "teacher_"))} - {
        *("student_temperature", "teacher_temperature", "teacher_head"),
    }
    assert "labels" not in there


class Own(nn.Module):
    """A user's loss."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, student: Tensor) -> Tensor:
        return self.alpha * student.square().mean()


def test_a_user_s_own_loss_has_them_too(setting: Setting) -> None:
    (stage,) = stages(f"{__file__}:Own(alpha=3)@embedding", setting)
    term = stage.objective.terms["Own"]
    assert getattr(term.loss, "alpha", None) == 3
    with pytest.raises(Fault, match="no option 'alhpa'; the nearest is 'alpha'"):
        check_options("Own", Own, (("alhpa", 1),))
