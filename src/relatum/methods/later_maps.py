"""Later methods on feature maps, and those that build on the teacher's classifier."""

import copy
from collections.abc import Iterable

from torch import Tensor, nn

from relatum.losses import ICKD, KD, OFD, SRRL, OFDMargin, ReviewKD, SemCKD, SimKD
from relatum.methods.layers import MAPS_OR_VECTORS, maps_of, paired
from relatum.methods.method import Method
from relatum.methods.setting import Setting
from relatum.methods.stage import Stage, distil
from relatum.models.simkd import SimKDStudent, classified_map, student_map
from relatum.objective import Objective, On, Term
from relatum.schedules import constant, warmup
from relatum.taps import Tapped
from relatum.types import Fault

WARMUP = 1 / 12
"""Share of the epochs over which ReviewKD's weight rises: 20 of the benchmark's 240."""


def ofd(setting: Setting) -> tuple[Stage, ...]:
    """OFD: weight 0.001 on the stages before their ReLU (mdistiller).

    Margins come from the batch norms that form the teacher's preactivations, which its network
    names (``norms``). On ImageNet the weight is 0.0001.
    """
    if setting.on is not None:
        raise Fault("ofd reads the preactivations, whose batch norms are known; it takes no tap")
    pairs = paired(setting, "preactivations")
    margins = list(_margins(setting, len(pairs)))
    loss = setting.build(OFD, margins, [student[0] for student, _ in pairs])
    return distil(setting, {"ofd": Term(loss, on="preactivations", weight=0.001)})


def reviewkd(setting: Setting) -> tuple[Stage, ...]:
    """ReviewKD: weight 1 after a warm-up of 1/12 of the epochs, stages and embedding (mdistiller).

    The student's stages after their ReLU, the teacher's before, or after where it names none
    before (a network of another library). mdistiller has weight 5 for
    resnet32x4 to resnet8x4. The authors' own, in another schedule: 5 for resnet32x4 to resnet8x4
    and ShuffleNetV1 and for the pairs of WRN-40-2, 8 for resnet32x4 to ShuffleNetV2, 0.6 for
    resnet56 to resnet20, 1 for resnet110 to resnet32.
    """
    on: On = setting.on or ("stages", "embedding")
    before = setting.teacher is None or "preactivations" in setting.teacher
    teacher_on: On = setting.on or ("preactivations" if before else "stages", "embedding")
    pairs = paired(setting, on, teacher_on, ranks=MAPS_OR_VECTORS)
    loss = setting.build(
        ReviewKD, [student[0] for student, _ in pairs], [teacher[0] for _, teacher in pairs]
    )
    term = Term(loss, on=on, weight=warmup(WARMUP, constant()), teacher_on=teacher_on)
    return distil(setting, {"reviewkd": term})


def srrl(setting: Setting) -> tuple[Stage, ...]:
    """SRRL: 1 · embeddings + 1 · what the teacher's classifier makes of both (the authors' code).

    The student's last map is connected, as by the authors; its embedding where it has no maps, as
    in SimKD's repository. CTKD's script adds it to 0.1 · cross-entropy + 0.9 · KD.
    """
    on = setting.on or ("maps" if "maps" in setting.student else "embedding")
    ((student, _),) = paired(setting, on, "embedding", ranks=MAPS_OR_VECTORS)
    loss = setting.build(SRRL, setting.teacher_classifier(), student[0])
    return distil(setting, {"srrl": Term(loss, on=on, teacher_on="embedding")})


def semckd(setting: Setting) -> tuple[Stage, ...]:
    """SemCKD: weight 400 on all stages + 1 · KD at temperature 4, where classes are shared.

    As the authors have it, whose rows all hold KD. It wants batches of one size. On ImageNet the
    weight is 50.
    """
    if setting.batch is None:
        raise Fault(
            "semckd needs batches of one size, and the last one of an epoch is shorter: drop it"
            " (--set drop_last=true)"
        )
    on = setting.tap("stages")
    assert setting.teacher is not None
    students = maps_of(setting.student, on, "student")
    teachers = maps_of(setting.teacher, on, "teacher")
    loss = setting.build(
        SemCKD, [each[0] for each in students], [each[0] for each in teachers], setting.batch
    )
    terms = {"semckd": Term(loss, on=on, weight=400.0)}
    if setting.shares_classes:
        terms["soft"] = Term(KD())
    return distil(setting, terms)


def ickd(setting: Setting) -> tuple[Stage, ...]:
    """ICKD: weight 2.5 on the last feature map (the authors' README; one of their scripts: 4)."""
    on = setting.layer("maps")
    ((student, teacher),) = paired(setting, on)
    loss = setting.build(ICKD, student[0], teacher[0])
    return distil(setting, {"ickd": Term(loss, on=on, weight=2.5)})


def simkd(setting: Setting) -> tuple[Stage, ...]:
    """SimKD: weight 1 on the projected map, no cross-entropy and no KD (the authors' scripts).

    The student that learns is the network of ``adopt``. Its labels teach it nothing: its
    classifier is the teacher's, and what enters that is compared with what the teacher gives it.
    """
    if setting.on is not None:
        raise Fault(
            "simkd reads the map whose mean the teacher's classifier reads; it takes no tap"
        )
    teacher_on = _classified(setting)
    ((student, teacher),) = paired(setting, "maps", teacher_on)
    if student[0] != teacher[0]:
        raise Fault(
            f"simkd compares a map of {student[0]} channels with one of {teacher[0]}: the student"
            " must wear a projector to the teacher's (relatum.models.simkd.SimKDStudent)"
        )
    return (Stage(Objective(simkd=Term(setting.build(SimKD), on="maps", teacher_on=teacher_on))),)


def adopt(setting: Setting) -> nn.Module:
    """The network that SimKD trains in a student's place: with the teacher's classifier.

    Raises:
        Fault: the student has no feature map, the teacher's classifier reads something else than
            the mean of one, or it tells other classes apart than the labels do.
    """
    student, teacher = setting.student_network, setting.teacher_network
    if student is None or teacher is None:
        raise Fault("simkd builds on a student's network and on its teacher's, and one is missing")
    classifier = setting.teacher_classifier()
    if setting.supervised and not setting.shares_classes:
        raise Fault(
            "simkd's student speaks through the teacher's classifier, which tells other classes"
            " apart than this set has; choose a teacher of this set, or train without labels"
            " (--no-labels)"
        )
    maps = student_map(student.taps)
    ((student_shape, teacher_shape),) = paired(setting, "maps", _classified(setting))
    bare = copy.deepcopy(student).only(set()).network  # the copy's hooks go, the student's stay
    return SimKDStudent(bare, maps, tuple(student_shape), tuple(teacher_shape), classifier)


def _classified(setting: Setting) -> str:
    teacher: Tapped | None = setting.teacher_network
    if teacher is None or setting.teacher is None:
        return "maps"
    return classified_map(teacher.network, teacher.taps, setting.teacher)


def _margins(setting: Setting, stages: int) -> Iterable[Tensor]:
    """OFD's margins of the teacher's channels, stage by stage."""
    network = None if setting.teacher_network is None else setting.teacher_network.network
    norms = getattr(network, "norms", ())
    if network is None or len(norms) != stages:
        raise Fault(
            "ofd reads margins off the batch norms that form the teacher's preactivations, and"
            " this teacher does not name one for each (its attribute `norms`)"
        )
    for path in norms:
        norm = network.get_submodule(path)
        weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
        if not (isinstance(weight, Tensor) and isinstance(bias, Tensor)):
            raise Fault(f"ofd: the teacher's {path!r} is no batch norm with a weight and a bias")
        yield OFDMargin(weight, bias)


LATER_MAPS: dict[str, Method] = {
    "ofd": Method(ofd, OFD, "maps", 2019, "Heo et al., ICCV 2019, arXiv 1904.01866"),
    "semckd": Method(semckd, SemCKD, "maps", 2020, "Chen et al., AAAI 2021, arXiv 2012.03236"),
    "srrl": Method(srrl, SRRL, "maps", 2021, "Yang et al., ICLR 2021"),
    "reviewkd": Method(
        reviewkd, ReviewKD, "maps", 2021, "Chen et al., CVPR 2021, arXiv 2104.09044"
    ),
    "ickd": Method(ickd, ICKD, "maps", 2021, "Liu et al., ICCV 2021, arXiv 2202.03680"),
    "simkd": Method(simkd, SimKD, "maps", 2022, "Chen et al., CVPR 2022, arXiv 2203.14001", adopt),
}
