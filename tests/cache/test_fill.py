"""What is read says what the teacher would say; what is there is not asked for again."""

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from relatum.cache import Unheard, remember, sizes
from relatum.cache import values as held_or_mapped
from relatum.cache.shards import ROWS
from relatum.checkpoint import Interrupted, Stop
from relatum.data import Batches, Crop, Flip
from relatum.types import Fault
from tests import toys
from tests.cache.asked import EVERY, ask, counted, identity, tensors

SAMPLES = 2 * ROWS + 52
VIEWED = toys.batches(SAMPLES, 64, augment=(Crop(1), Flip()), views=2)
PLAIN = toys.batches(SAMPLES, 64)


def shards(root: Path) -> dict[str, int]:
    return {str(each.relative_to(root)): each.stat().st_mtime_ns for each in root.rglob("*.safet*")}


@pytest.mark.parametrize("mapped", [False, True], ids=["held", "mapped"])
@pytest.mark.parametrize("batches", [PLAIN, VIEWED], ids=["plain", "viewed"])
def test_it_says_what_the_teacher_says(
    batches: Batches, mapped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors to the bits of one order of sums, maps to float16's."""
    if mapped:
        monkeypatch.setattr(held_or_mapped, "ON_CPU", 0)
    teacher = toys.teacher()
    cached = ask(teacher, batches, tmp_path)
    kinds = {type(each).__name__ for each in cached.values.values()}
    assert kinds == ({"Mapped"} if mapped else {"Held"})
    for number in (1, 2, 3):
        for batch in batches.epoch(number):
            live, kept = tensors(teacher(batch)), tensors(cached(batch))
            assert live.keys() == kept.keys()
            for name, value in live.items():
                assert kept[name].dtype == value.dtype
                exact = value.ndim == 2
                rtol, atol = (1e-6, 1e-7) if exact else (2**-11, 2**-25)
                torch.testing.assert_close(kept[name], value, rtol=rtol, atol=atol)


def test_every_view_is_another(tmp_path: Path) -> None:
    cached = ask(toys.teacher(), VIEWED, tmp_path, ("embedding",))
    batch = next(VIEWED.epoch(1))
    one, other = (cached(replace(batch, view=view)).read("embedding") for view in (0, 1))
    assert isinstance(one, torch.Tensor)
    assert isinstance(other, torch.Tensor)
    assert (one != other).any(1).float().mean() > 0.8  # some images look the same twice


def test_what_is_there_is_not_asked_for_again(tmp_path: Path) -> None:
    teacher = toys.teacher()
    seen = counted(teacher)
    ask(teacher, VIEWED, tmp_path, ("embedding",))
    assert sum(seen) >= 2 * SAMPLES
    before = shards(tmp_path)
    assert len(before) == 2 * 3
    seen.clear()
    ask(teacher, VIEWED, tmp_path, ("embedding",))
    assert sum(seen) <= 64  # it is compared with what the teacher says now
    assert shards(tmp_path) == before


def test_another_method_adds_what_it_reads_and_another_view_its_own(tmp_path: Path) -> None:
    teacher = toys.teacher()
    ask(teacher, VIEWED, tmp_path, ("embedding",))
    before = shards(tmp_path)
    ask(teacher, VIEWED, tmp_path, ("embedding", "maps"))
    more = shards(tmp_path)
    assert more.items() >= before.items()
    assert len(more) == 2 * len(before)
    wider = replace(VIEWED, views=3)
    ask(teacher, wider, tmp_path, ("embedding",))
    assert len(shards(tmp_path)) == len(more) + 3
    ask(teacher, replace(VIEWED, views=1), tmp_path, ("maps",))  # some of what there is
    assert len(shards(tmp_path)) == len(more) + 3
    assert len(list(tmp_path.iterdir())) == 1


def test_another_teacher_has_a_folder_of_its_own_and_is_told_so(tmp_path: Path) -> None:
    notes: list[str] = []

    class Noting(Unheard):
        def note(self, text: str) -> None:
            notes.append(text)

    ask(toys.teacher(), PLAIN, tmp_path, ("embedding",), progress=Noting())
    assert len(notes) == 1
    assert notes[0].startswith("the teacher is asked once, ")
    ask(toys.teacher(), PLAIN, tmp_path, ("embedding", "maps"), progress=Noting())
    assert notes[1].startswith("the teacher is asked for what the cache lacks, ")
    ask(toys.teacher(seed=7), PLAIN, tmp_path, ("embedding",), progress=Noting())
    assert f"what {tmp_path} holds is of something else: the teacher's weights differ" in notes
    assert len(list(tmp_path.iterdir())) == 2


def test_the_manifest_says_it_in_words(tmp_path: Path) -> None:
    teacher = toys.teacher()
    with torch.no_grad():
        dict(teacher.network.named_parameters())["conv.weight"].mul_(1e9)
        dict(teacher.network.named_buffers())["bn.running_var"].fill_(1.0)
    ask(teacher, PLAIN, tmp_path, ("embedding", "maps"))
    (path,) = tmp_path.glob("*/manifest.json")
    said = json.loads(path.read_text())
    assert said["facts"] == identity(teacher, PLAIN).facts
    assert said["samples"] == SAMPLES
    stored = {each["tap"]: each["stored"] for each in said["taps"].values()}
    assert stored == {"embedding": ["float32"], "maps": ["float32"]}  # beyond float16


def test_the_room_is_said_and_refused_before_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = sizes(toys.teacher(), VIEWED, EVERY, torch.float32)
    each = {"embedding": 6 * 4, "maps": 6 * 36 * 2, "output": 3 * 4, "stages": 2 * 6 * 36 * 2}
    assert found == {name: size * SAMPLES for name, size in each.items()}
    usage = type("", (), {"free": 2 * sum(found.values()) - 1})
    monkeypatch.setattr("relatum.cache.store.shutil.disk_usage", lambda _: usage)
    with pytest.raises(Fault, match=r"takes 5.3 MiB more, and .* has 5.3 MiB free; name another"):
        ask(toys.teacher(), VIEWED, tmp_path)
    assert not shards(tmp_path)
    usage.free += 1  # type: ignore[attr-defined]
    ask(toys.teacher(), VIEWED, tmp_path)


def test_a_teacher_that_says_something_else_now_is_refused(tmp_path: Path) -> None:
    """As after a change of its code: the weights, and so the key, are the same."""
    teacher = toys.teacher()
    known = identity(teacher, VIEWED)
    remember(teacher, VIEWED, EVERY, known, tmp_path)
    with torch.no_grad():
        dict(teacher.network.named_parameters())["conv.weight"][0].neg_()
    with pytest.raises(Fault, match=r"says something else now of sample 0 .*delete that folder"):
        remember(teacher, VIEWED, EVERY, known, tmp_path)


def test_a_teacher_that_says_it_otherwise_by_rounding_alone_is_not(tmp_path: Path) -> None:
    teacher = toys.teacher()
    known = identity(teacher, VIEWED)
    remember(teacher, VIEWED, EVERY, known, tmp_path)
    with torch.no_grad():
        for each in teacher.network.parameters():
            each.mul_(1 + 1e-5)
    remember(teacher, VIEWED, EVERY, known, tmp_path)


def test_a_shard_of_one_view_in_the_place_of_another_is_refused(tmp_path: Path) -> None:
    ask(toys.teacher(), VIEWED, tmp_path, ("embedding",))
    one, other = sorted(tmp_path.rglob("*-00000.safetensors"))
    other.write_bytes(one.read_bytes())
    with pytest.raises(Fault, match="its view is 0, wanted 1; delete it"):
        ask(toys.teacher(), VIEWED, tmp_path, ("embedding",))


def test_a_shard_that_was_lost_is_computed_again(tmp_path: Path) -> None:
    ask(toys.teacher(), VIEWED, tmp_path, ("embedding",))
    lost = sorted(tmp_path.rglob("*.safetensors"))[4]
    before = lost.read_bytes()
    lost.unlink()
    teacher = toys.teacher()
    seen = counted(teacher)
    ask(teacher, VIEWED, tmp_path, ("embedding",))
    assert lost.read_bytes() == before
    assert sum(seen) < ROWS + 100


def test_asked_to_stop_it_does_so_and_keeps_what_it_finished(tmp_path: Path) -> None:
    stop = Stop()

    class Halting(Unheard):
        def advance(self) -> None:
            stop.signum = 15

    with pytest.raises(Interrupted):
        ask(toys.teacher(), VIEWED, tmp_path, stop=stop, progress=Halting())
    assert len(shards(tmp_path)) == len(EVERY)
    teacher = toys.teacher()
    seen = counted(teacher)
    ask(teacher, VIEWED, tmp_path)
    assert sum(seen) < 2 * SAMPLES - ROWS + 100
    assert len(shards(tmp_path)) == 6 * len(EVERY)


def test_one_asks_and_the_others_wait(tmp_path: Path) -> None:
    """Threads stand for processes: the lock is the kernel's, of an open file."""
    seen: list[list[int]] = []
    notes: list[str] = []

    class Noting(Unheard):
        def note(self, text: str) -> None:
            notes.append(text)

    teachers = [toys.teacher() for _ in range(3)]
    seen = [counted(each) for each in teachers]
    threads = [
        threading.Thread(target=ask, args=(each, VIEWED, tmp_path), kwargs={"progress": Noting()})
        for each in teachers
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(sum(each) >= 2 * SAMPLES for each in seen) == [False, False, True]
    assert len(shards(tmp_path)) == 6 * len(EVERY)


def test_who_waits_can_be_stopped(tmp_path: Path) -> None:
    teacher, stop = toys.teacher(), Stop()
    folder = folder_of(tmp_path)
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / ".lock")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert held.stdout is not None
        held.stdout.readline()

        class Stopping(Unheard):
            def note(self, text: str) -> None:
                assert "another process fills" in text
                stop.signum = 2

        with pytest.raises(Interrupted):
            ask(teacher, PLAIN, tmp_path, stop=stop, progress=Stopping())
    finally:
        held.kill()  # the kernel gives back the lock of who is gone
        held.wait()
    ask(teacher, PLAIN, tmp_path)
    assert len(shards(tmp_path)) == 3 * len(EVERY)


HOLD = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def folder_of(root: Path) -> Path:
    """The folder of the cache of the plain batches, made."""
    key = identity(toys.teacher(), PLAIN).key
    folder = root / f"toy-{key[:16]}"
    folder.mkdir()
    return folder
