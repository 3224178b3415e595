"""With several teachers a method has one term on all of them, or one for each at its share."""

from dataclasses import replace

import pytest
import torch
from torch import Size

from relatum.grammar import stages
from relatum.methods import METHODS
from relatum.methods.each_teacher import OF_COSINES, OF_VECTORS
from relatum.methods.setting import Setting
from relatum.objective import Term

SHARES = (0.25, 0.75)
SETTING = Setting(
    student={"embedding": Size((2, 8)), "output": Size((2, 10))},
    teacher={
        "embedding": Size((2, 15)),
        "embedding_1": Size((2, 9)),
        "embedding_2": Size((2, 6)),
        "output": Size((2, 10)),
    },
    student_says="logits",
    teacher_says="logits",
    samples=60,
    classes=10,
    labels=torch.arange(60) % 10,
    batch=12,
    shares=SHARES,
)


def terms(method: str, setting: Setting = SETTING) -> dict[str, Term]:
    return dict(stages(method, setting)[-1].objective.terms)


@pytest.mark.parametrize("method", ["rkd", "pkt", "lp", "cc", "cc-rbf", "sp"])
def test_a_relation_has_a_term_for_each_at_its_share(method: str) -> None:
    found, one = terms(method), terms(method, replace(SETTING, shares=()))[method]
    weight = one.weight
    assert isinstance(weight, float)
    for place, share in enumerate(SHARES, start=1):
        term = found[f"{method}@{place}"]
        assert term.tap("teacher") == f"embedding_{place}"
        assert term.tap("student") == "embedding"
        assert term.weight == pytest.approx(share * weight)
    assert method not in found


@pytest.mark.parametrize("method", sorted(OF_COSINES | OF_VECTORS))
def test_cosines_and_vectors_have_one_term_on_all(method: str) -> None:
    found = terms(method)
    assert found[method].tap("teacher") == "embedding"
    assert not [name for name in found if "@" in name]


@pytest.mark.parametrize("method", ["ft", "ft=2+kd"])
def test_stages_keep_what_they_have_in_common(method: str) -> None:
    """FT's paraphraser learns in the first stage what the student is taught in the second."""
    maps = Size((2, 4, 5, 5))
    assert SETTING.teacher is not None
    student, teacher = ({**each, "maps": maps} for each in (SETTING.student, SETTING.teacher))
    first, second = stages(method, replace(SETTING, student=student, teacher=teacher))
    paraphraser = first.objective.terms["paraphraser"].loss
    assert any(each is paraphraser for each in second.objective.terms["ft"].loss.modules())


def test_logits_have_one_term_on_all() -> None:
    assert set(terms("kd")) == {"ce", "kd"}
    assert set(terms("lp")) == {"ce", "lp@1", "lp@2", "soft"}


def test_what_is_joined_and_weighed_keeps_its_weight() -> None:
    found = terms("rkd=10+rrkd=2+kd")
    assert {name: term.weight for name, term in found.items() if name != "ce"} == {
        "rkd@1": 2.5,
        "rkd@2": 7.5,
        "rrkd": 2.0,
        "kd": 1.0,
    }


def test_heads_are_as_wide_as_their_teacher() -> None:
    widths = [
        {each.shape[-1] for each in terms("cc")[f"cc@{place}"].loss.parameters()}
        for place in (1, 2)
    ]
    assert 9 in widths[0]
    assert 6 in widths[1]
    assert 15 not in widths[0] | widths[1]


def test_a_users_own_loss_has_a_term_for_each() -> None:
    found = terms("relatum.losses:RKDDistance=4")
    assert {name: term.weight for name, term in found.items() if name != "ce"} == {
        "RKDDistance@1": 1.0,
        "RKDDistance@2": 3.0,
    }


def test_methods_named_are_methods() -> None:
    assert set(METHODS) >= OF_COSINES | OF_VECTORS
