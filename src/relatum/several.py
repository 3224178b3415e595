"""Several teachers at once: one embedding that relates samples as all of them do on average."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Self

import torch
from torch import Tensor, nn

from relatum import relations
from relatum.any_teacher import AnyTeacher
from relatum.precision import exact
from relatum.types import Batch, Captured, Fault, Images

EMBEDDING, OUTPUT = "embedding", "output"


def shares_of(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights as shares of 1.

    Raises:
        Fault: one is not a number over 0.
    """
    if not weights or not all(0 < each < float("inf") for each in weights):
        raise Fault(f"teachers are weighed by numbers over 0, got {', '.join(map(str, weights))}")
    most = max(weights)  # before they are summed: the sum of finite numbers may be infinite
    parts = [each / most for each in weights]
    shares = tuple(each / sum(parts) for each in parts)
    if not all(shares):
        found = ", ".join(map(str, weights))
        raise Fault(f"teachers are weighed by numbers over 0 that can be compared, got {found}")
    return shares


def numbered(place: int) -> str:
    """What the embedding of one of several teachers is called, from 1."""
    return f"{EMBEDDING}_{place}"


@exact
def joint_embedding(embeddings: tuple[Tensor, ...], shares: Sequence[float]) -> Tensor:
    r"""One embedding whose cosines are the weighted means of those of several.

    .. math:: e = [\sqrt{w_1} \, e_1 / \|e_1\|, \; \sqrt{w_2} \, e_2 / \|e_2\|, \; …]

    of length one where the shares :math:`w` sum to 1, so that
    :math:`\langle e^i, e^j \rangle = \sum_k w_k \cos(e_k^i, e_k^j)`, whatever the widths.

    Args:
        embeddings: samples × width (or maps, which are flattened), of each teacher.
        shares: what each counts.
    """
    rows = (relations.unit(each.flatten(1)) for each in embeddings)
    parts = [share**0.5 * each for share, each in zip(shares, rows, strict=True)]
    kind = max((each.dtype for each in parts), key=lambda each: each.itemsize)
    return torch.cat([each.to(kind) for each in parts], dim=1)


@exact
def joint_logits(logits: tuple[Tensor, ...], shares: Sequence[float]) -> Tensor:
    r"""The logarithm of the weighted mean of several teachers' probabilities.

    .. math:: z = \log \sum_k w_k \, \mathrm{softmax}(z_k)

    whose softmax is that mean. At another temperature than 1 it is that of the mean, and not the
    mean of the softened ones.
    """
    parts = [
        math.log(share) + each.log_softmax(1) for share, each in zip(shares, logits, strict=True)
    ]
    return torch.stack(parts).logsumexp(0)


def joined(said: Sequence[Captured], shares: Sequence[float], same_classes: bool) -> Captured:
    """What several teachers say together of the same samples.

    Args:
        said: by each of them.
        shares: what each counts.
        same_classes: whether what they return are logits over the same classes.

    Returns:
        Taps ``embedding``, of all, and ``embedding_1``, ``embedding_2`` … of each, where all have
        one; the output is their joint logits, or else the joint embedding.
    """
    taps: dict[str, Tensor] = {}
    if all(EMBEDDING in each.taps for each in said):
        own = tuple(_tensor(each) for each in said)
        taps[EMBEDDING] = joint_embedding(own, shares)
        taps |= {numbered(place): each for place, each in enumerate(own, start=1)}
    if same_classes:
        return Captured(joint_logits(tuple(each.output for each in said), shares), taps)
    return Captured(taps[EMBEDDING], taps)


def _tensor(said: Captured) -> Tensor:
    value = said.taps[EMBEDDING]
    assert isinstance(value, Tensor), "an embedding is one layer"
    return value


class Teachers(nn.Module):
    """Several teachers that teach together: networks, tables, in any mixture and of any widths.

    A loss on cosines of the ``embedding`` compares with the weighted mean of the teachers' cosine
    matrices; any other relation is had by a term for each teacher (``teacher_on="embedding_2"``).
    What they return together is ``joint_logits``. They have no maps in common.

    Args:
        members: each with an embedding, or all with logits; each network with its own ``Input``.
        weights: what each counts; all the same by default. They need not sum to 1.
        same_classes: whether what they return are logits over the same classes.

    Raises:
        Fault: fewer than two teachers, not as many weights, or nothing that all of them say.

    Example:
        >>> from relatum.tables import EmbeddingTable
        >>> both = Teachers(EmbeddingTable(torch.eye(3)), EmbeddingTable(torch.ones(3, 2)))
        >>> batch = Batch(torch.rand(3, 1, 8, 8), None, torch.arange(3))
        >>> relations.cosine(both(batch).taps["embedding"])[0].tolist()
        [1.0, 0.5, 0.5]
    """

    def __init__(
        self,
        *members: AnyTeacher,
        weights: Sequence[float] | None = None,
        same_classes: bool = False,
    ) -> None:
        super().__init__()
        weights = (1.0,) * len(members) if weights is None else tuple(weights)
        if len(members) < 2 or len(weights) != len(members):
            raise Fault(
                f"several teachers are two at least, and have a weight each: got {len(members)}"
                f" and {len(weights)} weights"
            )
        self.members = members
        self.shares = shares_of(weights)
        self.same_classes = same_classes
        self._cut = False
        # for ``to``, and for who asks what moves
        self.networks = nn.ModuleList(each for each in members if isinstance(each, nn.Module))
        if same_classes and not all(each.has_output for each in members):
            raise Fault("a table without logits says no classes; leave same_classes out")
        if not self.taps:
            raise Fault(
                "these teachers have nothing in common: give each an embedding, or each logits over"
                " the same classes (same_classes=True)"
            )

    @property
    def taps(self) -> frozenset[str]:
        """The names of what they say together; ``"output"`` among them where they share classes."""
        found = {OUTPUT} if self.same_classes else set()
        if all(EMBEDDING in each.taps for each in self.members):
            places = range(1, len(self.members) + 1)
            found |= {EMBEDDING, *(numbered(place) for place in places)}
        return frozenset(found)

    @property
    def has_output(self) -> bool:
        """Whether what they return is of one kind: logits over the same classes."""
        return self.same_classes

    @property
    def runs(self) -> bool:
        """Whether one of them is a network."""
        return any(each.runs for each in self.members)

    @property
    def encodes(self) -> bool:
        """Whether all of them can say something of images that are of no set."""
        return all(each.encodes for each in self.members)

    @property
    def views(self) -> int:
        """In how many ways each sample was augmented, for those that say it from memory."""
        return max(each.views for each in self.members)

    @property
    def replays(self) -> bool:
        """Whether one call is a function of tensors on the device, which a CUDA graph can hold."""
        return all(each.replays for each in self.members)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, batch: Batch) -> Captured:
        """What they say together about a batch."""
        with torch.no_grad():
            return self._joined([each(batch) for each in self.members])

    def encode(self, images: Images) -> Captured:
        """What they say together about images in [0, 1]; a table says nothing of those."""
        return self._joined([each.encode(images) for each in self.members])

    @contextmanager
    def until(self, names: Iterable[str]) -> Iterator[None]:
        """Run each no further than to its embedding, of which all that they have is made."""
        before = self._cut
        with ExitStack() as cuts:
            for each in self.members:
                cuts.enter_context(each.until((EMBEDDING,)))
            self._cut = True
            try:
                yield
            finally:
                self._cut = before

    def _joined(self, said: Sequence[Captured]) -> Captured:
        return joined(said, self.shares, self.same_classes and not self._cut)
