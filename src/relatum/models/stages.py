"""What the networks of images call the places that losses read: one word for one kind of place.

- ``embedding``: what enters the classifier, one vector an image;
- ``stem``: the first map, before the first stage;
- ``stage1``, ``stage2`` ...: what leaves each stage; ``stages``: all of them, **without** the stem;
- ``maps``: what leaves the last stage;
- ``preactivations``: the stages again, before their last ReLU;
- ``final``: the map whose mean is the embedding, where more layers lie behind ``maps``.

These are the places of the CRD benchmark (RepDistiller's ``feat[0]`` is the stem, ``feat[1:-1]``
are the stages, ``feat[-1]`` is the embedding). A network that has them also has ``norms``: the
path of the batch norm that forms each preactivation, or an empty tuple where none forms all of
its channels.
"""

from collections.abc import Iterable

from relatum.taps import Tap, Taps


def stage_taps(
    embedding: Tap,
    stem: Tap,
    stages: Iterable[Tap],
    preactivations: Iterable[Tap],
    final: Tap | None = None,
) -> Taps:
    """The taps of a network of stages, under the names above.

    Args:
        embedding: what enters the classifier.
        stem: the map that enters the first stage.
        stages: what leaves each stage, shallow to deep.
        preactivations: the same before the last ReLU of each.
        final: the map that is pooled, if it is not the last stage's.

    Example:
        >>> taps = stage_taps(Tap("fc", "input"), Tap("relu"), [Tap("layer1")], [Tap("layer1.bn")])
        >>> list(taps)
        ['embedding', 'stem', 'stage1', 'stages', 'maps', 'preactivations']
    """
    every = tuple(stages)
    return {
        "embedding": embedding,
        "stem": stem,
        **{f"stage{number}": stage for number, stage in enumerate(every, start=1)},
        "stages": every,
        "maps": every[-1],
        "preactivations": tuple(preactivations),
        **({} if final is None else {"final": final}),
    }
