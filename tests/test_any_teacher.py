"""All kinds of teachers are asked the same; one of another kind needs nothing more."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch

from relatum.any_teacher import ASKED, AnyTeacher, is_teacher
from relatum.distiller import Distiller
from relatum.losses import KD, RRKD
from relatum.objective import Objective, Term
from relatum.replay.obstacle import obstacle
from relatum.run.beside import Hearing
from relatum.several import Teachers
from relatum.tables import EmbeddingTable
from relatum.teachers import CachedTeacher
from relatum.types import Batch, Captured, Fault, Images
from tests import toys


class Brightness:
    """A teacher that is no network, no table, and derived from nothing of relatum's."""

    taps = ("embedding",)
    has_output = runs = replays = False
    encodes = True
    views = 1

    def __call__(self, batch: Batch) -> Captured:
        return self.encode(batch.images)

    def encode(self, images: Images) -> Captured:
        rows = images.flatten(2).mean(2)
        return Captured(torch.empty(0), {"embedding": torch.cat([rows, rows**2, 1 - rows], 1)})

    def until(self, names: Iterable[str]) -> AbstractContextManager[None]:
        return nullcontext()


def kinds() -> dict[str, AnyTeacher]:
    live, table = toys.teacher(), EmbeddingTable(torch.eye(21))
    return {
        "live": live,
        "cached": CachedTeacher(live, table.values, 21),
        "table": table,
        "several": Teachers(live, table, Brightness()),
        "asked through others": Hearing(live, live),
        "of one's own": Brightness(),
    }


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_teaches_alone_and_among_others(kind: str) -> None:
    teacher = kinds()[kind]
    assert is_teacher(teacher)
    batch = next(toys.batches().epoch(1))
    for each in (teacher, Teachers(toys.teacher(), teacher)):
        objective = Objective(rrkd=Term(RRKD(), on="embedding"))
        distiller = Distiller(toys.student(), each, objective)
        said = each(batch)
        with each.until({"embedding"}):
            cut = each(batch)
        torch.testing.assert_close(cut.read("embedding"), said.read("embedding"), atol=0, rtol=0)
        distiller.losses(batch).total.backward()  # type: ignore[no-untyped-call]
        if not each.has_output:
            with pytest.raises(Fault, match="reads output of the teacher, whose taps: embedding"):
                Distiller(toys.student(), each, Objective(kd=Term(KD())))
        anchors = torch.rand(4, 1, 6, 6)
        if each.encodes:
            taught = Distiller(toys.student(), each, objective, anchors).taught_anchors()
            assert taught is not None
            assert len(toys.tensors(taught.read("embedding"))[0]) == 4
        else:
            with pytest.raises(Fault, match="anchors need a live teacher"):
                Distiller(toys.student(), each, objective, anchors)
            with pytest.raises(Fault, match="says nothing of images that are not of its set"):
                each.encode(anchors)


def test_a_function_is_no_teacher_that_can_be_asked() -> None:
    assert not is_teacher(toys.teacher().forward)
    assert not is_teacher(None)
    assert all(hasattr(Brightness, name) for name in ASKED)


ON_DISK = "what the teacher said lies on disk, for it takes too much of the GPU's memory"
CALLED = "the teacher is a {}, whose call is no function of tensors on the device"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("live", None),
        ("cached", None),
        ("table", ON_DISK),
        ("several", ON_DISK),
        ("asked through others", CALLED.format("Hearing")),
        ("of one's own", CALLED.format("Brightness")),
    ],
)
def test_what_cannot_be_replayed_says_so(kind: str, said: str | None) -> None:
    """Of a table on disk too, and not that nobody knows what it is."""
    objective = Objective(rrkd=Term(RRKD(), on="embedding"))
    teacher = kinds()[kind]
    for each in (teacher, Teachers(toys.teacher(), teacher)):
        distiller = Distiller(toys.student(), each, objective)
        optimizer = torch.optim.SGD(distiller.parameters(), lr=torch.tensor(0.1), fused=True)
        assert obstacle(distiller, optimizer, toys.batches(), anywhere=True) == said


def test_several_run_no_further_than_to_what_is_read() -> None:
    one, two = toys.teacher(), toys.teacher(2, width=3)
    ran: list[int] = []
    for each in (one, two):
        classifier = each.network.get_submodule("fc")
        classifier.register_forward_hook(lambda _, taken, __: ran.append(len(taken[0])))
    both = Teachers(one, two, same_classes=True)
    batch = next(toys.batches().epoch(1))
    rrkd = Distiller(toys.student(), both, Objective(rrkd=Term(RRKD(), on="embedding")))
    rrkd.losses(batch)  # shows each that its embedding can be had, by two samples
    ran.clear()
    rrkd.losses(batch)
    assert ran == []
    Distiller(toys.student(), both, Objective(kd=Term(KD()))).losses(batch)
    assert ran == [5, 5]
    assert both(batch).output.shape == (5, toys.CLASSES)
