"""What a cache is of: all that the words of a teacher depend on, so that no stale one is read."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relatum.data import Batches, ImageSet, Stored
from relatum.datasets.decoded import kept
from relatum.types import Fault, Input

FACTS = {
    "teacher": "the teacher's network",
    "weights": "the teacher's weights",
    "input": "the teacher's input (size, mean, deviation)",
    "images": "the training images",
    "augmentation": "the augmentation",
    "seed": "the seed of the views",
    "precision": "the precision that the teacher computes in",
}
"""What a cache depends on, in words."""


@dataclass(frozen=True)
class Identity:
    """What a cache is of. How many views there are is no part of it: each is a file of its own.

    Attributes:
        facts: a text for each of ``FACTS``.
    """

    facts: Mapping[str, str]

    def __post_init__(self) -> None:
        if set(self.facts) != set(FACTS):
            raise Fault(f"a cache is known by {', '.join(FACTS)}; got {', '.join(self.facts)}")

    @property
    def key(self) -> str:
        """SHA-256 of the facts."""
        return hashlib.sha256(json.dumps(dict(self.facts), sort_keys=True).encode()).hexdigest()

    def difference(self, other: Mapping[str, str]) -> str:
        """In which facts another one differs, in words; empty where it does in none."""
        return ", ".join(
            words for name, words in FACTS.items() if self.facts[name] != other.get(name)
        )


def identity_of(
    batches: Batches, *, teacher: str, weights: str, input: Input, precision: str
) -> Identity:
    """What the words of a teacher about the images of a training depend on.

    Args:
        batches: the training's.
        teacher: the name of its network.
        weights: the SHA-256 of its parameters and buffers (``relatum.weights.fingerprint``).
        input: how it wants its images.
        precision: what it computes in, in words.

    Raises:
        Fault: the batches augment each image in another way every epoch.
    """
    if batches.augment and batches.views is None:
        raise Fault(
            "what a teacher says can be kept where the images stay the same, and these are"
            " augmented in another way every epoch; fix how many there are (--set views=4),"
            " or augment nothing (--set augment=)"
        )
    size = "as they come" if input.size is None else " by ".join(map(str, input.size))
    facts = {
        "teacher": teacher,
        "weights": weights,
        "input": f"{size}; mean {_listed(input.mean)}; deviation {_listed(input.std)}",
        "images": digest_of(batches.data),
        "augmentation": ", ".join(map(repr, batches.augment)) or "none",
        "seed": str(batches.seed) if batches.augment else "none",
        "precision": precision,
    }
    return Identity(facts)


def digest_of(data: ImageSet) -> str:
    """SHA-256 of a set's images, their order included; labels play no part.

    A streamed set has the one that it would have in memory: it is decoded once for that, and its
    sum is remembered for as long as its files stay the same.
    """
    if not isinstance(data, Stored) or not data.key:
        return _digest(data)
    rows = hashlib.sha256(bytes_of(data.rows)).hexdigest()

    def now() -> dict[str, Tensor]:
        return {"digest": torch.frombuffer(bytearray.fromhex(_digest(data)), dtype=torch.uint8)}

    known = kept(f"sum of {data.key.rpartition(', ')[0]}", f"{data.key} {rows}", now)
    return bytes(known["digest"].tolist()).hex()


def _digest(data: ImageSet) -> str:
    digest = hashlib.sha256(f"{(len(data), *data.shape)}".encode())
    for first in range(0, len(data), 4096):  # so that no copy of a whole set is made
        digest.update(bytes_of(data.pixels(slice(first, first + 4096))))
    return digest.hexdigest()


def bytes_of(values: Tensor) -> Any:
    """A tensor's bytes, without a copy of them where it lies on the CPU in one piece."""
    plain = values.detach().cpu().contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy()


def _listed(numbers: tuple[float, ...]) -> str:
    return " ".join(map(str, numbers))
