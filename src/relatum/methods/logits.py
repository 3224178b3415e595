"""Methods on the labels and on what the networks put out."""

from torch import nn

from relatum.losses import (
    CTKD,
    DIST,
    DKD,
    KD,
    LSKD,
    MLKD,
    NKD,
    RLD,
    SKD,
    TTM,
    WSLD,
    WTTM,
    CrossEntropy,
    LumiNet,
    Reconstruction,
)
from relatum.methods.method import Method
from relatum.methods.setting import Setting
from relatum.methods.stage import Stage, distil, task
from relatum.objective import Objective, Term
from relatum.schedules import Schedule, constant, warmup
from relatum.types import Fault


def none(setting: Setting) -> tuple[Stage, ...]:
    """The student alone: cross-entropy, or reconstruction for an auto-encoder."""
    if setting.supervised:
        return (Stage(Objective(**task(setting))),)
    if setting.student_says == "reconstruction":
        return (Stage(Objective(reconstruction=Term(Reconstruction()))),)
    raise Fault(
        "a student alone learns from labels or by reconstruction: this set has no labels to use"
        " and the student is no auto-encoder; choose a method that learns from a teacher"
    )


def kd(setting: Setting) -> tuple[Stage, ...]:
    """Soft targets: 0.1 · cross-entropy + 0.9 · KD at temperature 4 (RepDistiller)."""
    return _soft(setting, "kd", setting.build(KD), 0.9, task_weight=0.1)


def dkd(setting: Setting) -> tuple[Stage, ...]:
    """DKD: α 1, β 8 at temperature 4, weight 1 after a warm-up of 1/12 of the epochs (mdistiller).

    β as for resnet32x4 → resnet8x4 and → ShuffleNets, ResNet50 → MobileNetV2 and WRN-40-2 →
    ShuffleNetV1; it is 6 for vgg13 → vgg8 and → MobileNetV2 and for WRN-40-2 → WRNs, 2 for
    resnet56 → resnet20 and resnet110 → resnet32.
    """
    return _labelled(setting, "dkd", setting.build(DKD), _warm(1.0))


def nkd(setting: Setting) -> tuple[Stage, ...]:
    """NKD: γ 1.5 at temperature 1, weight 1 (cls_KD's ImageNet setting).

    Its CIFAR-100 setting, for ResNet34 → ResNet18, is γ 3.5 at temperature 3.
    """
    return _labelled(setting, "nkd", setting.build(NKD))


def wsld(setting: Setting) -> tuple[Stage, ...]:
    """WSLD: weight 2.25 at temperature 4 (cls_KD's CIFAR-100 setting)."""
    return _labelled(setting, "wsld", setting.build(WSLD), 2.25)


def dist(setting: Setting) -> tuple[Stage, ...]:
    """DIST: weight 2 at temperature 4 (the authors' CIFAR-100 setting)."""
    return _soft(setting, "dist", setting.build(DIST), 2.0)


def lskd(setting: Setting) -> tuple[Stage, ...]:
    """Standardised logits: 0.1 · cross-entropy + 9 · LSKD at temperature 2 (the authors' code).

    So for most pairs; temperature 3 for vgg13 → vgg8 and → MobileNetV2, and temperature 3 at
    weight 1 for ResNet50 → MobileNetV2 (the names of their logs).
    """
    return _soft(setting, "lskd", setting.build(LSKD, temperature=2.0), 9.0, task_weight=0.1)


def mlkd(setting: Setting) -> tuple[Stage, ...]:
    """MLKD: 0.1 · cross-entropy + 0.9 · all its terms at temperatures 2 to 6 (the authors' code).

    On one view of every image and without their masks, where they have two views, of which the
    second is strongly augmented, and up to four times the epochs.
    """
    return _soft(setting, "mlkd", setting.build(MLKD), 0.9, task_weight=0.1)


def ttm(setting: Setting) -> tuple[Stage, ...]:
    """TTM: weight 45 at γ 0.1 (the authors' vgg13 → vgg8; they tune both for every pair)."""
    return _soft(setting, "ttm", setting.build(TTM, gamma=0.1), 45.0)


def wttm(setting: Setting) -> tuple[Stage, ...]:
    """WTTM: weight 2.25 at γ 0.1 (the authors' vgg13 → vgg8; they tune both for every pair)."""
    return _soft(setting, "wttm", setting.build(WTTM, gamma=0.1), 2.25)


def rld(setting: Setting) -> tuple[Stage, ...]:
    """RLD: α 1, β 8 at temperature 4, weight 1 after a warm-up of 1/12 of the epochs (authors)."""
    return _labelled(setting, "rld", setting.build(RLD), _warm(1.0))


def skd(setting: Setting) -> tuple[Stage, ...]:
    """SKD: 0.1 · cross-entropy + 0.9 · both its terms (the authors' code, without its masks).

    They train at a learning rate of 0.1, which no other method of the benchmark has.
    """
    return _soft(setting, "skd", setting.build(SKD), 0.9, task_weight=0.1)


def ctkd(setting: Setting) -> tuple[Stage, ...]:
    """CTKD on KD: 0.1 · cross-entropy + 0.9 · KD at the learned temperature (the authors' code)."""
    return _soft(setting, "ctkd", setting.build(CTKD), 0.9, task_weight=0.1)


def luminet(setting: Setting) -> tuple[Stage, ...]:
    """LumiNet: 2 · cross-entropy + 33² · LumiNet at temperature 4, warmed up (the authors' code).

    As for resnet32x4 → resnet8x4, after a warm-up of 1/12 of the epochs. Others of their pairs
    have 35 to 75 in the square, temperature 8 and 1 or 2 · cross-entropy.
    """
    return _soft(setting, "luminet", setting.build(LumiNet), _warm(33.0**2), task_weight=2.0)


def _soft(
    setting: Setting,
    name: str,
    loss: nn.Module,
    weight: float | Schedule = 1.0,
    task_weight: float = 1.0,
) -> tuple[Stage, ...]:
    terms = {name: Term(loss, on=setting.logits(name), weight=weight)}
    return distil(setting, terms, task_weight)


def _labelled(
    setting: Setting, name: str, loss: nn.Module, weight: float | Schedule = 1.0
) -> tuple[Stage, ...]:
    on = setting.logits(name)
    if not setting.supervised:
        raise Fault(
            f"{name} tells the label's class from the others, and there are no labels to use here;"
            " kd, dist and ttm need none"
        )
    if (width := setting.widths(on)[0]) != setting.classes:
        raise Fault(
            f"{name} tells the label's class from the others: {on!r} gives {width} numbers, and"
            f" there are {setting.classes} classes; name another tap"
        )
    return distil(setting, {name: Term(loss, on=on, weight=weight)})


def _warm(weight: float) -> Schedule:
    """From nothing to the weight over 20 of the benchmark's 240 epochs."""
    ramp = warmup(20 / 240, constant())
    return lambda progress: weight * ramp(progress)


LOGITS: dict[str, Method] = {
    "none": Method(none, CrossEntropy, "task", 0, ""),
    "kd": Method(kd, KD, "logits", 2015, "Hinton et al., arXiv 1503.02531"),
    "wsld": Method(wsld, WSLD, "logits", 2021, "Zhou et al., ICLR 2021, arXiv 2102.00650"),
    "dkd": Method(dkd, DKD, "logits", 2022, "Zhao et al., CVPR 2022, arXiv 2203.08679"),
    "dist": Method(dist, DIST, "logits", 2022, "Huang et al., NeurIPS 2022, arXiv 2205.10536"),
    "ctkd": Method(ctkd, CTKD, "logits", 2022, "Li et al., AAAI 2023, arXiv 2211.16231"),
    "nkd": Method(nkd, NKD, "logits", 2023, "Yang et al., ICCV 2023, arXiv 2303.13005"),
    "mlkd": Method(mlkd, MLKD, "logits", 2023, "Jin et al., CVPR 2023"),
    "luminet": Method(
        luminet, LumiNet, "logits", 2023, "Hossain et al., TMLR 2025, arXiv 2310.03669"
    ),
    "ttm": Method(ttm, TTM, "logits", 2024, "Zheng & Yang, ICLR 2024, arXiv 2402.11148"),
    "wttm": Method(wttm, WTTM, "logits", 2024, "Zheng & Yang, ICLR 2024, arXiv 2402.11148"),
    "lskd": Method(lskd, LSKD, "logits", 2024, "Sun et al., CVPR 2024, arXiv 2403.01427"),
    "rld": Method(rld, RLD, "logits", 2024, "Sun et al., ICCV 2025, arXiv 2408.07703"),
    "skd": Method(skd, SKD, "logits", 2026, "Jeong et al., CVPR 2026"),
}
