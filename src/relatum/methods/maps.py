"""Methods on feature maps, as the benchmark has them."""

from relatum.losses import SP
from relatum.methods.setting import Setting, Stage, distil
from relatum.objective import Term


def sp(setting: Setting) -> tuple[Stage, ...]:
    """SP: weight 3000 on the last feature map (RepDistiller), or on the embedding without one."""
    return distil(setting, {"sp": Term(SP(), on=setting.tap("maps", "embedding"), weight=3000.0)})
