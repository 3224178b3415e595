"""Methods by name: which losses, on which taps, at the papers' weights."""

from dataclasses import replace
from typing import Any

import pytest
from torch import Size

from relatum.losses import KD, LP, PKT, RKD, RRD, RRKD, SP, CrossEntropy, Reconstruction
from relatum.methods import METHODS, Setting
from relatum.objective import Objective, Term
from relatum.types import Fault, Shapes
from tests.methods.settings import AUTO, SETTING, STUDENT, TEACHER

# name -> {term: (loss, tap, weight)}, written down from the papers and their code
PUBLISHED: dict[str, dict[str, tuple[type, str, float]]] = {
    "none": {"ce": (CrossEntropy, "output", 1.0)},
    "kd": {"ce": (CrossEntropy, "output", 0.1), "kd": (KD, "output", 0.9)},
    "sp": {"ce": (CrossEntropy, "output", 1.0), "sp": (SP, "maps", 3000.0)},
    "rrkd": {"ce": (CrossEntropy, "output", 1.0), "rrkd": (RRKD, "embedding", 1.0)},
    "rrd": {"ce": (CrossEntropy, "output", 1.0), "rrd": (RRD, "embedding", 1.0)},
    "rrd-2024": {"ce": (CrossEntropy, "output", 1.0), "rrd-2024": (RRD, "embedding", 1.0)},
    "lp": {
        "ce": (CrossEntropy, "output", 1.0),
        "lp": (LP, "embedding", 1.5),
        "soft": (KD, "output", 2.0),
    },
    "rkd": {"ce": (CrossEntropy, "output", 1.0), "rkd": (RKD, "embedding", 1.0)},
    "pkt": {"ce": (CrossEntropy, "output", 1.0), "pkt": (PKT, "embedding", 30000.0)},
}
TAUGHT = sorted(set(PUBLISHED) - {"none"})


def objective(name: str, setting: Setting = SETTING) -> Objective:
    (stage,) = METHODS[name](setting)
    assert stage.share == 1
    assert stage.only is None
    return stage.objective


def terms(name: str, setting: Setting = SETTING) -> dict[str, Term]:
    return dict(objective(name, setting).terms)


def loss(name: str, term: str, setting: Setting = SETTING) -> Any:
    return terms(name, setting)[term].loss


def without(shapes: Shapes, name: str) -> Shapes:
    return {each: size for each, size in shapes.items() if each != name}


@pytest.mark.parametrize("name", PUBLISHED)
def test_with_labels_it_is_as_published(name: str) -> None:
    found = {term: (type(each.loss), each.on, each.weight) for term, each in terms(name).items()}
    assert found == PUBLISHED[name]


@pytest.mark.parametrize("name", TAUGHT)
def test_without_labels_the_label_term_goes_and_the_others_stay(name: str) -> None:
    setting = replace(SETTING, classes=None)
    found = terms(name, setting)
    wanted = {term: each for term, each in PUBLISHED[name].items() if term != "ce"}
    assert {t: (type(e.loss), e.on, e.weight) for t, e in found.items()} == wanted
    assert not objective(name, setting).needs("labels")


@pytest.mark.parametrize("name", sorted(set(TAUGHT) - {"kd"}))
def test_auto_encoders_learn_from_the_embedding_alone(name: str) -> None:
    (term,) = terms(name, AUTO).values()
    assert term.on == "embedding"
    assert not objective(name, AUTO).needs("labels")


def test_a_student_that_embeds_learns_without_logits() -> None:
    """Its classes are known, but it has nowhere to say them."""
    shapes = {"output": Size([2, 12]), "embedding": Size([2, 12])}
    setting = replace(SETTING, student=shapes, student_says="embedding")
    assert set(terms("rrkd", setting)) == {"rrkd"}
    assert set(terms("lp", setting)) == {"lp"}


def test_parameters_of_losses_are_the_papers() -> None:
    assert loss("kd", "kd").temperature == 4.0
    assert loss("lp", "soft").temperature == 1.0
    mended = loss("lp", "lp")
    assert (mended.sigma, mended.batch_invariant) == ("median", True)
    new, old = loss("rrd", "rrd"), loss("rrd-2024", "rrd-2024")
    assert (new.student_temperature, new.teacher_temperature, new.enqueue) == (0.1, 0.02, "before")
    assert (old.student_temperature, old.teacher_temperature, old.enqueue) == (0.04, 0.1, "after")
    assert isinstance(new, RRD)
    assert new.queue.shape == (16384, 128)
    assert new.student_head.weight.shape == (128, 12)
    assert not loss("sp", "sp").batch_invariant
    assert loss("rrkd", "rrkd").kind == "cos"


@pytest.mark.parametrize(("samples", "size"), [(50_000, 16384), (300, 100), (2, 1), (1, 1)])
def test_the_queue_is_no_longer_than_a_third_of_the_set(samples: int, size: int) -> None:
    assert len(loss("rrd", "rrd", replace(SETTING, samples=samples)).queue) == size


def test_sp_reads_the_embedding_where_one_network_has_no_maps() -> None:
    for lacking in (
        replace(SETTING, student=without(STUDENT, "maps")),
        replace(SETTING, teacher=without(TEACHER, "maps")),
    ):
        assert terms("sp", lacking)["sp"].on == "embedding"


def test_kd_needs_the_same_classes_and_says_why_not() -> None:
    other = {**TEACHER, "output": Size([2, 1000])}
    with pytest.raises(Fault, match="gives 10 logits and the teacher 1000 logits"):
        terms("kd", replace(SETTING, teacher=other))
    with pytest.raises(Fault, match="gives a reconstruction and the teacher a reconstruction"):
        terms("kd", AUTO)
    embeds = replace(SETTING, teacher_says="embedding")
    with pytest.raises(Fault, match="the teacher an embedding"):
        terms("kd", embeds)
    with pytest.raises(Fault, match="the teacher nothing"):
        terms("kd", replace(SETTING, teacher=None, teacher_says=None))


def test_lp_is_soft_only_over_shared_classes() -> None:
    other = {**TEACHER, "output": Size([2, 1000])}
    assert set(terms("lp", replace(SETTING, teacher=other))) == {"ce", "lp"}
    assert set(terms("lp", AUTO)) == {"lp"}


def test_none_is_the_student_alone() -> None:
    assert not objective("none").accepts("teacher")
    (term,) = terms("none", AUTO).values()
    assert isinstance(term.loss, Reconstruction)
    with pytest.raises(Fault, match="no labels to use and the student is no auto-encoder"):
        terms("none", replace(SETTING, classes=None))


@pytest.mark.parametrize("name", TAUGHT)
def test_without_a_teacher_nothing_is_distilled(name: str) -> None:
    with pytest.raises(Fault) as caught:
        terms(name, replace(SETTING, teacher=None, teacher_says=None))
    assert "teacher" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", TAUGHT)
def test_another_tap_moves_the_first_term_alone(name: str) -> None:
    first = next(term for term in PUBLISHED[name] if term != "ce")
    found = terms(name, replace(SETTING, on="output"))
    assert found[first].on == "output"
    assert {each.on for term, each in found.items() if term != first} == {"output"}


@pytest.mark.parametrize("name", TAUGHT)
def test_a_tap_that_one_network_lacks_is_refused_with_those_it_has(name: str) -> None:
    lacking = replace(SETTING, on="maps", teacher=without(TEACHER, "maps"))
    with pytest.raises(Fault, match=r"'maps': the student has embedding, maps, .* the teacher emb"):
        terms(name, lacking)


@pytest.mark.parametrize("name", sorted(set(TAUGHT) - {"sp"}))
@pytest.mark.parametrize("on", ["stages", ("maps", "embedding")])
def test_several_layers_are_refused_by_losses_that_read_one(
    name: str, on: str | tuple[str, ...]
) -> None:
    with pytest.raises(Fault, match="this loss reads one"):
        terms(name, replace(SETTING, on=on))


def test_sp_reads_several_layers() -> None:
    for on in ("stages", ("maps", "embedding")):
        assert terms("sp", replace(SETTING, on=on))["sp"].on == on
    fewer = {**TEACHER, "stages": TEACHER["stages"][1:]}
    with pytest.raises(Fault, match="at 'stages' the student has 2, the teacher 1"):
        terms("sp", replace(SETTING, on="stages", teacher=fewer))


@pytest.mark.parametrize("name", ["rrd", "rrd-2024"])
def test_rrd_refuses_maps(name: str) -> None:
    with pytest.raises(Fault, match="projects vectors, and 'maps' gives maps"):
        terms(name, replace(SETTING, on="maps"))


def test_widths_are_behind_the_batch() -> None:
    assert SETTING.widths("embedding") == (12, 64)
    assert SETTING.widths("maps") == (48, 256)
