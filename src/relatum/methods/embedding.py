"""Methods on the embedding: how its samples lie to each other, or what a memory says of them."""

from relatum.losses import LP, PKT, RKD, RRD, RRKD
from relatum.losses.kd import KD
from relatum.methods.setting import Setting, Stage, distil
from relatum.objective import Term


def rrkd(setting: Setting) -> tuple[Stage, ...]:
    """RRKD: weight 1 on the embedding (the authors' notebook)."""
    return distil(setting, {"rrkd": Term(RRKD(), on=setting.layer("embedding"))})


def rrd(setting: Setting) -> tuple[Stage, ...]:
    """RRD as its code has it since 2025: weight 1, teacher sharper, enqueue before."""
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
    loss = LP(sigma="median", batch_invariant=True)
    terms = {"lp": Term(loss, on=setting.layer("embedding"), weight=1.5)}
    if setting.shares_classes:
        terms["soft"] = Term(KD(temperature=1.0), weight=2.0)
    return distil(setting, terms)


def rkd(setting: Setting) -> tuple[Stage, ...]:
    """RKD: 25 · distances + 50 · angles on the embedding (RepDistiller)."""
    return distil(setting, {"rkd": Term(RKD(), on=setting.layer("embedding"))})


def pkt(setting: Setting) -> tuple[Stage, ...]:
    """PKT: weight 30,000 on the embedding (RepDistiller)."""
    return distil(setting, {"pkt": Term(PKT(), on=setting.layer("embedding"), weight=30000.0)})


def _rrd(year: str, setting: Setting) -> Term:
    on = setting.vector()
    # 16,384 of CIFAR's 50,000: a queue that outlives an epoch holds samples twice
    size = min(16384, max(setting.samples // 3, 1))
    return Term(RRD.preset(year, *setting.widths(on), queue_size=size), on=on)
