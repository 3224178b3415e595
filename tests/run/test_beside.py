"""Trainings on the same batches: the same bits as by themselves, and one pass of the teacher."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from relatum.checkpoint import Interrupted
from relatum.data import Batches
from relatum.recipes.recipe import Recipe
from relatum.record import Record
from relatum.run import Silent, run
from relatum.run.beside import Beside, Seat
from relatum.run.turns import Place, Turns
from relatum.tally import NotFinite
from relatum.teachers import Teacher
from relatum.types import Batch, Captured, Fault, Images
from tests.run.runs import CPU, Halts, equal, numbers

PATIENCE = 300.0
METHODS = ("none", "kd", "sp", "rrd")


@pytest.fixture
def learning(recipe: Recipe) -> Recipe:
    """With dropout and augmentation, so that randomness of both kinds is in use."""
    return recipe.but(student="mnist-mlp-32", dropout=0.5, augment=("crop",), learning_rate=0.02)


def of(recipe: Recipe, method: str) -> Recipe:
    """The student alone has no teacher, as in a benchmark."""
    return recipe.but(method=method, teacher=None if method == "none" else recipe.teacher)


Work = Callable[[Seat], Record]
Ended = Record | Exception


def beside(*works: Work) -> list[Ended]:
    """Run them in turns; what each gave or raised."""
    company, ended = Beside(len(works), CPU), dict[int, Ended]()

    def work(number: int, what: Work) -> None:
        with company.seat(number) as seat:
            try:
                ended[number] = what(seat)
            except Exception as error:
                ended[number] = error

    threads = [threading.Thread(target=work, args=each, daemon=True) for each in enumerate(works)]
    for each in threads:
        each.start()
    company.start()
    for each in threads:
        each.join(PATIENCE)
        assert not each.is_alive()
    return [ended[number] for number in range(len(works))]


def running(recipe: Recipe, folder: Path, display: Silent | None = None) -> Work:
    stop = display.stop if isinstance(display, Halts) else None

    def work(seat: Seat) -> Record:
        return run(recipe, folder, resume=True, beside=seat, display=display, stop=stop)

    return work


def alone(recipe: Recipe, folder: Path, methods: Sequence[str] = METHODS) -> dict[str, Record]:
    return {method: run(of(recipe, method), folder / method) for method in methods}


def check(found: Sequence[Ended], wanted: dict[str, Record], apart: Path, near: Path) -> None:
    """The same weights, checkpoints and records, but for the seconds."""
    for (method, record), ended in zip(wanted.items(), found, strict=True):
        assert isinstance(ended, Record), ended
        assert numbers(ended) == numbers(record)
        for name in ("student.safetensors", "relations.safetensors"):
            assert equal(apart / method, near / method, name), (method, name)
        kept, there = (torch.load(each / method / "checkpoint.pt") for each in (apart, near))
        for part in ("position", "learner", "optimizer", "random"):
            torch.testing.assert_close(there[part], kept[part], rtol=0, atol=0)


class Counted:
    """How often teachers were asked of whole batches, and batches cut, and how far teachers ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
        self.asked, self.cut = Counter[tuple[int, ...]](), 0
        self.read: list[set[str]] = []
        self._size, self._counting = size, False
        encode, epoch, wait = Teacher.encode, Batches.epoch, Turns.wait

        def counted(teacher: Teacher, images: Images) -> Captured:
            said = encode(teacher, images)
            if self._counting and len(images) == size:
                self.asked[tuple(images.flatten()[:99].mul(255).int().tolist())] += 1
                self.read.append(set(said.taps) | ({"output"} if said.output.numel() else set()))
            return said

        def cut(batches: Batches, number: int, start: int = 0) -> Iterator[Batch]:
            for batch in epoch(batches, number, start):
                self.cut += self._counting and batches.shuffle
                yield batch

        def begun(turns: Turns, number: int, place: Place) -> float:
            waited = wait(turns, number, place)
            self._counting = True  # all have begun; what they tried before does not count
            return waited

        monkeypatch.setattr(Teacher, "encode", counted)
        monkeypatch.setattr(Batches, "epoch", cut)
        monkeypatch.setattr(Turns, "wait", begun)


def test_the_same_bits_and_one_pass(
    tmp_path: Path, learning: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = alone(learning, tmp_path / "apart")
    counted = Counted(monkeypatch, learning.batch_size)
    works = [running(of(learning, each), tmp_path / "near" / each) for each in METHODS]
    found = beside(*works)
    check(found, wanted, tmp_path / "apart", tmp_path / "near")
    steps = 2 * (1438 // 128)
    assert counted.cut == steps
    assert list(counted.asked.values()) == [1] * steps
    assert all("output" in read for read in counted.read)  # kd wants it
    for ended, record in zip(found, wanted.values(), strict=True):
        assert isinstance(ended, Record)
        assert 0.0 < ended.seconds < 10 * record.seconds + 5.0


def test_no_further_than_to_the_last_tap_of_all(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maps for one, embeddings for another: both taps, one pass, and no classifier."""
    recipe = recipe.but(epochs=1)
    wanted = alone(recipe, tmp_path / "apart", ("sp", "rkd"))
    counted = Counted(monkeypatch, recipe.batch_size)
    found = beside(*(running(of(recipe, each), tmp_path / "near" / each) for each in ("sp", "rkd")))
    check(found, wanted, tmp_path / "apart", tmp_path / "near")
    assert list(counted.asked.values()) == [1] * 11
    assert {frozenset(read) for read in counted.read} == {frozenset({"maps", "embedding"})}


@pytest.mark.parametrize("speed", ["fast"])
def test_at_other_speeds(tmp_path: Path, recipe: Recipe, speed: str) -> None:
    recipe = recipe.but(speed=speed, epochs=1)
    wanted = alone(recipe, tmp_path / "apart", ("kd", "sp"))
    found = beside(*(running(of(recipe, each), tmp_path / "near" / each) for each in ("kd", "sp")))
    for ended, record in zip(found, wanted.values(), strict=True):
        assert isinstance(ended, Record), ended
        for name, value in record.rows[-1].losses.items():
            assert ended.rows[-1].losses[name] == pytest.approx(value, rel=1e-3)


def test_stages_students_and_anchors_of_their_own(tmp_path: Path, recipe: Recipe) -> None:
    """Two stages, another network for the student, anchors, microbatches: each as by itself."""
    recipe = recipe.but(learning_rate=0.01, epochs=3)
    recipes = {
        "ft": recipe.but(method="ft"),
        "simkd": recipe.but(method="simkd"),
        "rrkd": recipe.but(method="rrkd", anchors="random", anchor_count=32),
        "parts": recipe.but(method="rkd", microbatch=50),
        "mlp": recipe.but(method="kd", student="mnist-mlp-32"),
    }
    wanted = {name: run(each, tmp_path / "apart" / name) for name, each in recipes.items()}
    works = [running(each, tmp_path / "near" / name) for name, each in recipes.items()]
    check(beside(*works), wanted, tmp_path / "apart", tmp_path / "near")
    assert len(wanted["ft"].rows) > recipe.epochs


def test_broken_off_and_gone_on_with_in_other_company(tmp_path: Path, learning: Recipe) -> None:
    """Three are stopped at different steps; two go on beside a new one, and one by itself."""
    wanted = alone(learning, tmp_path / "apart")
    near = tmp_path / "near"

    def work(method: str, display: Silent | None = None) -> Work:
        return running(of(learning, method), near / method, display)

    stopped = beside(work("kd", Halts(3)), work("sp", Halts(8)), work("rrd", Halts(15)))
    assert [type(each) for each in stopped] == [Interrupted] * 3
    sp = run(of(learning, "sp"), near / "sp", resume=True)
    none, rrd, kd = beside(work("none"), work("rrd"), work("kd"))
    check([none, kd, sp, rrd], wanted, tmp_path / "apart", near)


def test_who_comes_together_shares_from_there_on(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (of(recipe, each) for each in ("kd", "sp"))
    halts = Halts(5)  # and so takes the sixth step
    with pytest.raises(Interrupted):
        run(one, tmp_path / "kd", display=halts, stop=halts.stop)
    counted = Counted(monkeypatch, recipe.batch_size)
    beside(running(one, tmp_path / "kd"), running(other, tmp_path / "sp"))
    assert list(counted.asked.values()) == [1] * 22
    assert ["output" in read for read in counted.read] == [False] * 6 + [True] * 16


def test_what_goes_wrong_in_one_ends_that_one(tmp_path: Path, learning: Recipe) -> None:
    wanted = alone(learning, tmp_path / "apart", ("kd",))
    kd, wild, wrong = beside(
        running(of(learning, "kd"), tmp_path / "near" / "kd"),
        running(of(learning, "sp").but(learning_rate=1e30), tmp_path / "near" / "wild"),
        running(of(learning, "rrd").but(student="resnet9"), tmp_path / "near" / "wrong"),
    )
    assert isinstance(wild, NotFinite)
    assert isinstance(wrong, Fault)
    check([kd], wanted, tmp_path / "apart", tmp_path / "near")


def test_all_are_asked_to_stop(tmp_path: Path, learning: Recipe) -> None:
    """One wish, of one who advances: all save, wherever they are, and go on to the same bits."""
    fixed = of(learning, "rrkd").but(anchors="random", anchor_count=32)
    wanted = alone(learning, tmp_path / "apart", ("kd",))
    wanted["rrkd"] = run(fixed, tmp_path / "apart" / "rrkd")
    halts = Halts(7)

    def work(method: str) -> Work:
        def begun(seat: Seat) -> Record:
            display = halts if method == "kd" else None
            folder = tmp_path / "near" / method
            recipe = fixed if method == "rrkd" else of(learning, method)
            return run(recipe, folder, resume=True, beside=seat, display=display, stop=halts.stop)

        return begun

    stopped = beside(work("kd"), work("rrkd"))
    assert [type(each) for each in stopped] == [Interrupted] * 2
    halts.stop.signum = None
    check(beside(work("kd"), work("rrkd")), wanted, tmp_path / "apart", tmp_path / "near")


def test_batches_that_differ_are_no_company(tmp_path: Path, recipe: Recipe) -> None:
    one, other = beside(
        running(of(recipe, "kd"), tmp_path / "kd"),
        running(of(recipe, "sp").but(seed=1), tmp_path / "sp"),
    )
    assert sorted([type(one), type(other)], key=str) == sorted([Record, AssertionError], key=str)


def test_nothing_is_kept_for_whom_nobody_is_beside(taught: Path, recipe: Recipe) -> None:
    company = Beside(1, CPU)
    company.start()
    with company.seat(0):
        pass
    assert company._batch is None
    assert company._said == {}
