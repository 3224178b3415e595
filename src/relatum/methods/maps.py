"""Methods on feature maps, as the benchmark has them."""

from torch import Size

from relatum.losses import AB, AT, FSP, FT, KDSVD, NST, SP, FitNet, Paraphraser, VIDStages
from relatum.methods.layers import paired
from relatum.methods.method import Method
from relatum.methods.setting import Setting, named
from relatum.methods.stage import Stage, distil, initialised
from relatum.objective import Objective, On, Term
from relatum.types import Fault

INITIALISATION = 1 / 8
"""Share of the epochs in which AB, FSP and FT begin: 30 of the benchmark's 240."""


def sp(setting: Setting) -> tuple[Stage, ...]:
    """SP: weight 3000 on the last feature map (RepDistiller), or on the embedding without one."""
    on = setting.tap("maps", "embedding")
    setting.layers(on)  # refuses networks that differ in their number
    return distil(setting, {"sp": Term(setting.build(SP), on=on, weight=3000.0)})


def fitnet(setting: Setting) -> tuple[Stage, ...]:
    """FitNet: weight 100 on the map of the second stage, in one training (RepDistiller).

    The paper trains on the hint first; RepDistiller's hint layer 2 is ``stage2``.
    """
    on = setting.layer("stage2")
    ((student, teacher),) = paired(setting, on)
    loss = setting.build(FitNet, student, teacher)
    return distil(setting, {"fitnet": Term(loss, on=on, weight=100.0)})


def at(setting: Setting) -> tuple[Stage, ...]:
    """AT: weight 1000 on the maps of all stages, at p = 2 (RepDistiller).

    Made for images of 32 pixels: the term grows as maps get smaller. On digits of 8, which have
    a sixteenth of the pixels, 1000 ruins the student (resnet14 to resnet8, 8 epochs, 3 seeds:
    79.6 % against 99.1 % alone), and ``at=60`` does not (98.5 %).
    """
    on = setting.tap("stages")
    paired(setting, on)
    return distil(setting, {"at": Term(setting.build(AT), on=on, weight=1000.0)})


def vid(setting: Setting) -> tuple[Stage, ...]:
    """VID: weight 1 on the maps of all stages, variances beginning at 5 (RepDistiller)."""
    on = setting.tap("stages")
    students, teachers = zip(*paired(setting, on), strict=True)
    loss = setting.build(VIDStages, [size[0] for size in students], [size[0] for size in teachers])
    return distil(setting, {"vid": Term(loss, on=on)})


def nst(setting: Setting) -> tuple[Stage, ...]:
    """NST: weight 50 on the maps of all stages, polynomial kernel (RepDistiller)."""
    on = setting.tap("stages")
    paired(setting, on)
    return distil(setting, {"nst": Term(setting.build(NST), on=on, weight=50.0)})


def kdsvd(setting: Setting) -> tuple[Stage, ...]:
    """KDSVD: weight 1 on the maps of all stages (mdistiller); they need the same channels."""
    on = setting.tap("stages")
    _same_channels("kdsvd", on, paired(setting, on))
    return distil(setting, {"kdsvd": Term(setting.build(KDSVD), on=on)})


def fsp(setting: Setting) -> tuple[Stage, ...]:
    """FSP: weight 1, stem and stages, for 1/8 of the epochs; then the labels alone.

    The networks need the same channels there. While the student is initialised its classifier
    rests, for no term reaches it. Share and weight are those with which RepDistiller's rows were
    made: its scripts name the weight 50, but its code leaves it out in this stage, and in the
    next, where it has it, the term is zero.
    """
    on = setting.tap(("stem", "stages"))
    _same_channels("fsp", on, paired(setting, on))
    return initialised(setting, "fsp", {"fsp": Term(setting.build(FSP), on=on)}, INITIALISATION)


def ab(setting: Setting) -> tuple[Stage, ...]:
    """AB: weight 1, preactivations, for 1/8 of the epochs; then the labels alone (RepDistiller).

    Margin 1. While the student is initialised its classifier rests, for no term
    reaches it. (In a WideResNet the batch norm behind the last stage, which forms a
    preactivation, learns too; RepDistiller leaves it as it was.)
    """
    on = setting.tap("preactivations")
    students, teachers = zip(*paired(setting, on), strict=True)
    loss = setting.build(AB, students, teachers)
    return initialised(setting, "ab", {"ab": Term(loss, on=on)}, INITIALISATION)


def ft(setting: Setting) -> tuple[Stage, ...]:
    """FT: a paraphraser of the teacher's last map for 1/8 of the epochs, then weight 200 on it.

    Factors of half the teacher's channels, p = 2 (RepDistiller). The paraphraser learns at a
    constant 0.01, as RepDistiller has it for ResNets and WideResNets (its other students' own
    rate is 0.01 too, but for vgg8's 0.05). The student is not touched before the second stage.
    """
    on = setting.layer("maps")
    ((student, teacher),) = paired(setting, on)
    paraphraser = Paraphraser(teacher[0])
    loss = setting.build(FT, paraphraser, student[0])
    paraphraser.requires_grad_()  # it learns first; later, as no gradient reaches it, it rests
    first = Stage(
        Objective(paraphraser=Term(paraphraser, on=on)),
        share=INITIALISATION,
        only=(),
        learning_rate=0.01,
        schedule="constant",
    )
    return first, *distil(setting, {"ft": Term(loss, on=on, weight=200.0)})


def _same_channels(name: str, on: On, pairs: list[tuple[Size, Size]]) -> None:
    if len(pairs) < 2:
        raise Fault(f"{name} compares consecutive layers, and {named(on)} gives one")
    for place, (student, teacher) in enumerate(pairs, start=1):
        if student[0] != teacher[0]:
            raise Fault(
                f"{name} needs networks with the same channels: layer {place} of {named(on)} has"
                f" {student[0]} in the student and {teacher[0]} in the teacher"
            )


MAPS: dict[str, Method] = {
    "fitnet": Method(fitnet, FitNet, "maps", 2015, "Romero et al., ICLR 2015, arXiv 1412.6550"),
    "at": Method(at, AT, "maps", 2017, "Zagoruyko & Komodakis, ICLR 2017, arXiv 1612.03928"),
    "nst": Method(nst, NST, "maps", 2017, "Huang & Wang, arXiv 1707.01219"),
    "fsp": Method(fsp, FSP, "maps", 2017, "Yim et al., CVPR 2017"),
    "kdsvd": Method(kdsvd, KDSVD, "maps", 2018, "Lee et al., ECCV 2018, arXiv 1807.06819"),
    "ft": Method(ft, FT, "maps", 2018, "Kim et al., NeurIPS 2018, arXiv 1802.04977"),
    "ab": Method(ab, AB, "maps", 2019, "Heo et al., AAAI 2019, arXiv 1811.03233"),
    "vid": Method(vid, VIDStages, "maps", 2019, "Ahn et al., CVPR 2019, arXiv 1904.05835"),
    "sp": Method(sp, SP, "maps", 2019, "Tung & Mori, ICCV 2019, arXiv 1907.09682"),
}
