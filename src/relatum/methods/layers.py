"""The feature maps that a method reads, and what is refused of them."""

from torch import Size

from relatum.methods.setting import Setting, layers_of, named
from relatum.objective import On
from relatum.types import Fault, Shapes

MAPS = (3,)
"""Dimensions of a map without its batch: channels, height, width."""
MAPS_OR_VECTORS = (1, 3)


def paired(
    setting: Setting, on: On, teacher_on: On | None = None, ranks: tuple[int, ...] = MAPS
) -> list[tuple[Size, Size]]:
    """Channels, height and width of both networks' maps there, layer by layer.

    Args:
        setting: of the pair.
        on: a tap of one layer or of several, or several taps.
        teacher_on: the teacher's, where it is called otherwise.
        ranks: how many dimensions a layer may have, without the batch.

    Raises:
        Fault: the layers do not pair (``Setting.layers``), or one has other dimensions.
    """
    pairs = setting.layers(on, teacher_on)
    _check([student for student, _ in pairs], on, "student", ranks)
    _check([teacher for _, teacher in pairs], teacher_on or on, "teacher", ranks)
    return pairs


def maps_of(shapes: Shapes, on: On, who: str) -> list[Size]:
    """Those of one network, which need not be as many as the other's.

    Raises:
        Fault: it lacks the tap, or gives something else than maps there.
    """
    sizes = layers_of(shapes, on, who)
    _check(sizes, on, who, MAPS)
    return sizes


def _check(sizes: list[Size], on: On, who: str, ranks: tuple[int, ...]) -> None:
    for size in sizes:
        if len(size) not in ranks:
            raise Fault(
                f"this loss compares feature maps, and {named(on)} of the {who} gives"
                f" {'x'.join(map(str, size)) or 'one number'} a sample; name another tap"
            )
