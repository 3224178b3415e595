"""t-SNE maps of what each network makes of the same test images: embeddings, and logits.

RRD's authors draw the logits and call them features; here both are drawn, and called what they
are (van der Maaten & Hinton, JMLR 2008). A map shows who is near whom; its axes, its distances
between far groups and its orientation mean nothing.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from relatum.report.canvas import INK, Picture, drawing, picture
from relatum.report.kept import Kept, Values
from relatum.report.matrices import MOST_CLASSES, names_of
from relatum.types import Fault
from relatum.weights import write

CACHE = "maps.safetensors"
PERPLEXITY, ITERATIONS, SEED = 40.0, 500, 0
"""As the authors' perplexity; at most a third of the images; theirs had 300 iterations, no seed."""
SIDE = 2.6
"""Inches."""
COLUMNS = 5
"""Names of classes beside each other."""
FEWEST = 10
"""Images below which a map says nothing."""
COLOURS = ListedColormap(
    [
        *["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#117733"],
        *["#999933", "#332288", "#AA4499", "#44AA99", "#88CCEE", "#DDCC77", "#661100", "#6699CC"],
        *["#AA4466", "#4477AA", "#777777", "#000000"],
    ]
)


@dataclass(frozen=True, slots=True)
class Maps:
    """The maps of all networks.

    Attributes:
        networks: for each its title and its maps.
        about: what was drawn and how, in a sentence.
        key: what the colours mean, where classes are few.
    """

    networks: tuple[tuple[str, tuple[Picture, ...]], ...]
    about: str
    key: Picture | None


def maps(networks: Sequence[Kept], classes: Sequence[str] = ()) -> Maps | None:
    """Draw the embeddings and the logits of every network; ``None`` where none kept any.

    Args:
        networks: what they kept.
        classes: what the labels are called.
    """
    drawn = list[tuple[str, tuple[Picture, ...]]]()
    first = None
    for each in networks:
        pictures = tuple(
            _drawn(each, member, points)
            for member in ("embedding", "logits")
            if (points := _points(each, member)) is not None
        )
        if pictures:
            first = first or each
            drawn.append((each.title, pictures))
    if first is None:
        return None
    among = colours = ""
    if first.labels is not None:
        among = f" of {len(np.unique(first.labels))} classes"
        colours = " Colours are classes."
    about = (
        f"t-SNE of the same {len(first.indices)} test images{among}, by the embedding and by"
        f" the logits (perplexity {_perplexity(len(first.indices)):g}, {ITERATIONS} iterations,"
        f" from the principal components, seed {SEED}); the lowest seed of each method.{colours}"
        " Only nearness means something: not the axes, not the gaps between groups."
    )
    return Maps(tuple(drawn), about, _key(first.labels, classes))


def _key(labels: NDArray[np.int64] | None, classes: Sequence[str]) -> Picture | None:
    """Which colour is which class; nothing where colours repeat or are too many to tell apart."""
    there = [] if labels is None else np.unique(labels).tolist()
    if not 1 < len(there) <= MOST_CLASSES:
        return None
    names = names_of(there, classes)
    with drawing():
        figure = Figure(figsize=(2 * SIDE, 0.1 + 0.22 * -(-len(there) // COLUMNS)))
        dots = [
            Line2D([], [], linestyle="", marker="o", markersize=5, color=COLOURS(place))
            for place in range(len(there))
        ]
        figure.legend(
            dots, names, loc="center", ncols=COLUMNS, frameon=False, fontsize=8, handletextpad=0.1
        )
        return picture(figure, f"Colours: {', '.join(names)}.", vector=False)


def _points(each: Kept, member: str) -> Values | None:
    values = each.values.get(member)
    if values is None or len(values) < FEWEST or values.shape[1] < 2:
        return None
    key = f"{each.who}_{member}"
    print_of = hashlib.sha256(
        f"{PERPLEXITY} {ITERATIONS} {SEED} {values.shape}".encode() + values.tobytes()
    ).hexdigest()[:16]
    path = each.folder / CACHE
    held = dict[str, NDArray[np.float32]]()
    with suppress(SafetensorError, OSError, ValueError):
        held = load_file(path)
    name = f"{key}_{print_of}"
    if name in held and held[name].shape == (len(values), 2):
        return held[name]
    points = _embedded(values)
    fresh = {other: kept for other, kept in held.items() if not other.startswith(key)}
    with suppress(Fault, OSError):  # a page is drawn all the same where nothing may be kept
        write(path, save({**fresh, name: points}))
    return points


def _embedded(values: Values) -> Values:
    from sklearn.manifold import TSNE

    centred = values - values.mean(0)
    spread = centred.std()
    # a network that says the same of every image leaves nothing but rounding to spread out
    if not spread > 1e-6 * np.abs(values).max():
        return np.zeros((len(values), 2), np.float32)
    scaled = centred / spread
    tsne = TSNE(
        perplexity=_perplexity(len(values)), max_iter=ITERATIONS, init="pca", random_state=SEED
    )
    return np.ascontiguousarray(tsne.fit_transform(scaled), np.float32)


def _perplexity(images: int) -> float:
    return min(PERPLEXITY, (images - 1) // 3)


def _drawn(each: Kept, member: str, points: Values) -> Picture:
    with drawing():
        figure = Figure(figsize=(SIDE, SIDE), layout="constrained")
        axes = figure.add_subplot()
        colours = INK if each.labels is None else COLOURS(_ranks(each.labels))
        area = min(30.0, max(7.0, 1500 / len(points)))  # few images are no dust
        axes.scatter(points[:, 0], points[:, 1], s=area, linewidths=0, alpha=0.75, c=colours)
        axes.set_axis_off()
        alt = f"t-SNE map of the {member} of {len(points)} test images by {each.title}."
        return picture(figure, alt, member, vector=False)


def _ranks(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(labels, return_inverse=True)[1] % COLOURS.N
