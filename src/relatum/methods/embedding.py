"""Methods on the embedding: how its samples lie to each other, or what a memory says of them."""

from relatum.losses import CC, CRD, DCD, EGA, ITRD, KD, LP, PKT, RKD, RRD, RRKD, VkD
from relatum.losses.crd import most_negatives
from relatum.losses.rrd import PRESETS
from relatum.methods.method import Method
from relatum.methods.setting import Setting
from relatum.methods.stage import Stage, distil
from relatum.objective import Term


def rrkd(setting: Setting) -> tuple[Stage, ...]:
    """RRKD: weight 1 on the embedding (the authors' notebook)."""
    return distil(setting, {"rrkd": Term(setting.build(RRKD), on=setting.layer("embedding"))})


def rrd(setting: Setting) -> tuple[Stage, ...]:
    """RRD as the authors' code has it since 2025: weight 1, teacher sharper, enqueue before."""
    return distil(setting, {"rrd": _rrd("2025", setting)})


def rrd_2024(setting: Setting) -> tuple[Stage, ...]:
    """RRD as in all published tables: weight 1, student sharper, enqueue after."""
    return distil(setting, {"rrd-2024": _rrd("2024", setting)})


def lp(setting: Setting) -> tuple[Stage, ...]:
    """LP: weight 1.5 on the embedding + 2 · KD at temperature 1 (the rrkd notebook).

    Mended: sigma is the median distance to a neighbour, for the notebook's 1 makes the loss
    vanish on wide features; and the mean over the batch is taken, for its sum, once it does
    not vanish, drives the student to a constant.
    """
    loss = setting.build(LP, sigma="median", batch_invariant=True)
    terms = {"lp": Term(loss, on=setting.layer("embedding"), weight=1.5)}
    if setting.shares_classes:
        terms["soft"] = Term(KD(temperature=1.0), weight=2.0)
    return distil(setting, terms)


def rkd(setting: Setting) -> tuple[Stage, ...]:
    """RKD: 25 · distances + 50 · angles on the embedding (RepDistiller)."""
    return distil(setting, {"rkd": Term(setting.build(RKD), on=setting.layer("embedding"))})


def pkt(setting: Setting) -> tuple[Stage, ...]:
    """PKT: weight 30,000 on the embedding (RepDistiller)."""
    on = setting.layer("embedding")
    return distil(setting, {"pkt": Term(setting.build(PKT), on=on, weight=30000.0)})


def cc(setting: Setting) -> tuple[Stage, ...]:
    """CC as in the benchmark's table: weight 0.02, neighbours in the batch (RepDistiller)."""
    on = setting.vector()
    loss = setting.build(CC, *setting.widths(on))
    return distil(setting, {"cc": Term(loss, on=on, weight=0.02)})


def cc_rbf(setting: Setting) -> tuple[Stage, ...]:
    """CC as its paper has it: weight 100 (Knowledge-Distillation-Zoo's), gamma 0.4, order 2."""
    on = setting.layer("embedding")
    return distil(setting, {"cc-rbf": Term(setting.build(CC, kind="rbf"), on=on, weight=100.0)})


def crd(setting: Setting) -> tuple[Stage, ...]:
    """CRD: weight 0.8, 16,384 negatives, temperature 0.07, momentum 0.5 (RepDistiller).

    The negatives are of other classes where there are labels, and any other sample where there
    are none; in a small set they are all that there are.
    """
    on = setting.vector()
    loss = setting.build(
        CRD,
        *setting.widths(on),
        num_samples=setting.samples,
        labels=setting.labels,
        negatives=min(16384, most_negatives(setting.samples, setting.labels)),
    )
    return distil(setting, {"crd": Term(loss, on=on, weight=0.8)})


def dcd(setting: Setting) -> tuple[Stage, ...]:
    """DCD: weight 1, consistency 0.5 (the authors' code)."""
    on = setting.vector()
    return distil(setting, {"dcd": Term(setting.build(DCD, *setting.widths(on)), on=on)})


def itrd(setting: Setting) -> tuple[Stage, ...]:
    """ITRD: 2 · correlation + 0.05 · mutual information, alpha 1.5 (the authors' defaults).

    Their example for WRN-40-2 → WRN-16-2 has 2, 1 and 1.01.
    """
    on = setting.vector()
    return distil(setting, {"itrd": Term(setting.build(ITRD, *setting.widths(on)), on=on)})


def ega(setting: Setting) -> tuple[Stage, ...]:
    """EGA: weight 1 · (nodes + 0.3 · edges), as giakoumoglou/distillers weighs the two.

    Its sample script does not train it, so no weight of the sum is published; 1 leaves it as it
    is. A linear head brings the student to the teacher's width where the two differ.
    """
    on = setting.vector()
    return distil(setting, {"ega": Term(setting.build(EGA, *setting.widths(on)), on=on)})


def vkd(setting: Setting) -> tuple[Stage, ...]:
    """VkD: weight 1 on the embedding + KD at temperature 1 (the authors' ImageNet setting).

    Theirs is a vision transformer, whose second head learns the soft targets; here it is the
    student's only one. KD is left out where the classes differ.
    """
    on = setting.vector()
    terms = {"vkd": Term(setting.build(VkD, *setting.widths(on)), on=on)}
    if setting.shares_classes:
        terms["soft"] = Term(KD(temperature=1.0))
    return distil(setting, terms)


def _rrd(year: str, setting: Setting) -> Term:
    on = setting.vector()
    # 16,384 of CIFAR's 50,000: a queue that outlives an epoch holds samples twice
    size = min(16384, max(setting.samples // 3, 1))
    loss = setting.build(RRD, *setting.widths(on), queue_size=size, **PRESETS[year])
    return Term(loss, on=on)


_CC = "Peng et al., ICCV 2019, arXiv 1904.01802"
_RRD = "Giakoumoglou & Stathaki, arXiv 2407.12073"

EMBEDDING: dict[str, Method] = {
    "rrkd": Method(rrkd, RRKD, "embedding", 2023, "Ramos et al., CORES 2023"),
    "rrd": Method(rrd, RRD, "embedding", 2024, _RRD),
    "rrd-2024": Method(rrd_2024, RRD, "embedding", 2024, _RRD),
    "lp": Method(lp, LP, "embedding", 2018, "Chen et al., arXiv 1812.06597"),
    "rkd": Method(rkd, RKD, "embedding", 2019, "Park et al., CVPR 2019, arXiv 1904.05068"),
    "pkt": Method(pkt, PKT, "embedding", 2018, "Passalis & Tefas, ECCV 2018, arXiv 1803.10837"),
    "cc": Method(
        cc,
        CC,
        "embedding",
        2019,
        _CC,
        elsewhere=dict.fromkeys(("kind", "gamma", "order"), "cc-rbf"),
    ),
    "cc-rbf": Method(
        cc_rbf, CC, "embedding", 2019, _CC, elsewhere=dict.fromkeys(("kind", "dim"), "cc")
    ),
    "crd": Method(crd, CRD, "embedding", 2020, "Tian et al., ICLR 2020, arXiv 1910.10699"),
    "ega": Method(ega, EGA, "embedding", 2022, "Ma et al., BMVC 2022, arXiv 2211.13264"),
    "itrd": Method(itrd, ITRD, "embedding", 2022, "Miles et al., BMVC 2022, arXiv 2112.00459"),
    "dcd": Method(dcd, DCD, "embedding", 2024, "Giakoumoglou & Stathaki, arXiv 2407.11802"),
    "vkd": Method(vkd, VkD, "embedding", 2024, "Miles et al., CVPR 2024, arXiv 2403.06213"),
}
