import gzip
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from relatum.data import Batches
from relatum.datasets import decoded, load
from relatum.types import Fault
from tests.datasets.test_folder import labels, reds


def image(red: int) -> bytes:
    stored = io.BytesIO()
    Image.new("RGB", (6, 8), (red, 0, 0)).save(stored, "png")
    return stored.getvalue()


def pack(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in files:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))


def samples(reds: Iterable[int]) -> list[tuple[str, bytes]]:
    files: list[tuple[str, bytes]] = []
    for red in reds:
        files += [
            (f"./some/{red:04d}.cls", f"{red % 3}\n".encode()),
            (f"./some/{red:04d}.png", image(red)),
        ]
    return files


def test_shards_are_one_set_in_their_order(tmp_path: Path) -> None:
    for shard in range(3):
        pack(tmp_path / f"train-{shard:03d}.tar", samples(range(5 * shard, 5 * shard + 5)))
    pack(tmp_path / "val.tar", samples([40, 41]))
    data = load(f"wds:{tmp_path}/train-{{000..002}}.tar#{tmp_path}/val.tar", image_size=8)
    assert data.classes == ("0", "1", "2")
    assert reds(data, "train") == list(range(15))
    assert labels(data, "train") == [red % 3 for red in range(15)]
    assert reds(data, "test") == [40, 41]
    assert labels(data, "test") == [1, 2]
    assert data.train.names is not None
    assert data.train.names[3] == "./some/0003.png"
    for pattern in ("train-*.tar", "train-{000,001,002}.tar"):
        again = load(f"{tmp_path}/{pattern}", image_size=8)
        assert sorted(reds(again, "train") + reds(again, "test")) == list(range(15))


def test_streamed_in_the_order_of_the_epoch(tmp_path: Path) -> None:
    for shard in range(2):
        pack(tmp_path / f"{shard}.tar", samples(range(10 * shard, 10 * shard + 10)))
    held, streamed = (
        load(f"{tmp_path}/{{0..1}}.tar", image_size=8, memory=memory)
        for memory in ("resident", "streamed")
    )
    pairs = zip(
        *(Batches(each.train, 5, shuffle=True).epoch(2) for each in (held, streamed)), strict=True
    )
    for one, other in pairs:
        assert torch.equal(one.images, other.images)


def test_classes_in_json_or_none(tmp_path: Path) -> None:
    def named(red: int) -> bytes:
        return json.dumps({"width": 6, "label": ["bird", "cat"][red % 2]}).encode()

    pack(
        tmp_path / "named.tar",
        [
            pair
            for red in range(10)
            for pair in ((f"{red}.json", named(red)), (f"{red}.png", image(red)))
        ],
    )
    data = load(str(tmp_path / "named.tar"), image_size=8)
    assert data.classes == ("bird", "cat")
    assert all(
        (red % 2) == label
        for red, label in zip(reds(data, "train"), labels(data, "train"), strict=True)
    )
    pack(tmp_path / "plain.tar", [(f"{red}.seg.png", image(red)) for red in range(10)])
    data = load(str(tmp_path / "plain.tar"), image_size=8)
    assert data.classes == ()
    assert len(data.train) + len(data.test) == 10


def test_a_broken_member_is_named(tmp_path: Path) -> None:
    pack(tmp_path / "x.tar", [*samples(range(9)), ("bad.png", b"rubbish"), ("bad.cls", b"0")])
    with pytest.raises(Fault, match=r"1 of 10 images of wds:.*: bad.png .no image of a known"):
        load(str(tmp_path / "x.tar"))
    data = load(str(tmp_path / "x.tar"), skip_broken=True)
    assert len(data.train) + len(data.test) == 9


def fault(text: str) -> str:
    with pytest.raises(Fault) as caught:
        load(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    pack(tmp_path / "x.tar", samples(range(4)))
    whole = (tmp_path / "x.tar").read_bytes()
    assert "this shard is missing" in fault(f"wds:{tmp_path}/{{x,y}}.tar")
    assert "there are no such shards" in fault(f"wds:{tmp_path}/z*.tar")
    assert "from start to end only" in fault("wds:pipe:cat x.tar")
    assert "from start to end only" in fault("wds:https://example.org/x.tar")
    (tmp_path / "y.tar").write_bytes(gzip.compress(whole))
    assert "it is compressed" in fault(f"wds:{tmp_path}/y.tar")
    (tmp_path / "z.tar").write_bytes(whole[:700])
    assert "is no plain tar archive" in fault(f"wds:{tmp_path}/z.tar")
    pack(tmp_path / "none.tar", [("a.txt", b"x")])
    assert "hold no images" in fault(f"wds:{tmp_path}/none.tar")
    pack(tmp_path / "some.tar", [*samples([1]), ("b.png", image(2))])
    assert "1 of 2 samples have no class, the first is b.png" in fault(f"wds:{tmp_path}/some.tar")
    pack(tmp_path / "bad.tar", [("a.png", image(1)), ("a.json", b"{")])
    assert "a.json is no JSON" in fault(f"wds:{tmp_path}/bad.tar")
    assert "goes from the first number" in fault(f"wds:{tmp_path}/{{9..1}}.tar")


def test_shards_are_looked_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "PATIENCE", -1.0)
    pack(tmp_path / "x.tar", samples(range(10)))
    before = load(str(tmp_path / "x.tar"), memory="streamed")

    def never(*_: Any) -> Any:
        raise AssertionError("it is known where its images are")

    monkeypatch.setattr("relatum.datasets.shards.samples", never)
    again = load(str(tmp_path / "x.tar"), memory="streamed")
    every = slice(0, len(again.train))
    assert torch.equal(again.train.pixels(every), before.train.pixels(every))


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
def test_links_are_refused_where_they_would_be_images(tmp_path: Path, kind: bytes) -> None:
    for name, refused in (("9.png", True), ("9.JSON", True), ("latest", False)):
        path = tmp_path / "x.tar"
        pack(path, [(f"{red}.png", image(red)) for red in range(8)])
        with tarfile.open(path, "a") as archive:
            about = tarfile.TarInfo(name)
            about.type, about.linkname = kind, "1.png"
            archive.addfile(about)
        if refused:
            assert f"{name} is stored as a link" in fault(str(path))
        else:
            assert len(load(str(path)).train) == 6


@pytest.mark.parametrize(
    ("about", "says"),
    [
        (b'{"label": NaN}', "0.json has nan as its label; wanted a text or a whole number"),
        (b'{"label": ["a"], "class": "b"}', "0.json has ['a'] as its label"),
        (b'{"label": ' + b"1" * 6000 + b"}", "0.json is no JSON (Exceeds the limit"),
        (b"[" * 200_000, "0.json is no JSON (maximum recursion depth"),
    ],
)
def test_a_class_that_is_none_is_refused(tmp_path: Path, about: bytes, says: str) -> None:
    pack(tmp_path / "x.tar", [("0.png", image(1)), ("0.json", about)])
    assert says in fault(str(tmp_path / "x.tar"))


def test_null_is_no_class(tmp_path: Path) -> None:
    files = [(f"{red}.{end}", image(red)) for red in range(8) for end in ("png", "json")]
    pack(
        tmp_path / "x.tar",
        [(name, b'{"label": null}' if "json" in name else data) for name, data in files],
    )
    assert load(str(tmp_path / "x.tar")).classes == ()


def test_damaged_headers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    pack(path, [(f"{red}.png", image(red)) for red in range(8)])
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[124:136] = b"\xff" * 10 + b"\xfe\x00"  # of the first: -512 bytes, so that it is next
    damaged[148:156] = b" " * 8
    damaged[148:156] = b"%06o\0 " % sum(damaged[:512])
    path.write_bytes(damaged)
    assert "0.png is damaged: it has -512 bytes" in fault(str(path))
    damaged = bytearray(whole)
    damaged[4 * 1024] ^= 1  # in the fifth's name, so that its sum is wrong
    path.write_bytes(damaged)
    assert "is damaged from byte 4,096 on" in fault(str(path))


def test_braces_that_stand_for_too_many_are_refused(tmp_path: Path) -> None:
    assert "more than 100,000 shards" in fault(f"wds:{tmp_path}/{'{0..9}' * 7}.tar")
    assert "more than 100,000 shards" in fault(f"wds:{tmp_path}/{{0..{10**17}}}.tar")


def test_names_that_lead_elsewhere_are_only_names(tmp_path: Path) -> None:
    names = ["../../up.png", "/etc/root.png", *(f"{red}.png" for red in range(6))]
    pack(tmp_path / "in" / "x.tar", [(name, image(red)) for red, name in enumerate(names)])
    data = load(str(tmp_path / "in" / "x.tar"), image_size=8, memory="streamed")
    assert {*(data.train.names or ()), *(data.test.names or ())} == set(names)
    assert [each.name for each in tmp_path.rglob("*.*")] == ["x.tar"]


def test_names_that_shards_have_in_common_are_told_apart(tmp_path: Path) -> None:
    for shard in "ab":
        pack(tmp_path / f"{shard}.tar", [(f"{red}.png", image(red)) for red in range(5)])
    pack(tmp_path / "test.tar", [("9.png", image(9)), ("1.png", image(8))])
    data = load(f"{tmp_path}/{{a,b}}.tar#{tmp_path}/test.tar", image_size=8)
    assert data.train.names is not None
    assert data.train.names[0] == "a.tar/0.png"
    assert data.test.names == ("test.tar/9.png", "test.tar/1.png")
    assert len({*data.train.names, *data.test.names}) == 12


def test_a_shard_is_not_both_learnt_from_and_judged_on(tmp_path: Path) -> None:
    for shard in "ab":
        pack(tmp_path / f"{shard}.tar", [(f"{red}.png", image(red)) for red in range(5)])
    (tmp_path / "c.tar").symlink_to(tmp_path / "a.tar")
    for test in (f"{tmp_path}/a.tar", f"{tmp_path}/*.tar", f"{tmp_path}/../{tmp_path.name}/c.tar"):
        assert "among those to learn from" in fault(f"{tmp_path}/{{a,b}}.tar#{test}")


def test_names_of_training_images_do_not_hang_on_the_test_part(tmp_path: Path) -> None:
    for folder in ("one", "two", "deep/one"):
        (tmp_path / folder).mkdir(parents=True)
        pack(tmp_path / folder / "a.tar", [(f"{red}.png", image(red)) for red in range(5)])
    alone = tuple(f"{red}.png" for red in range(5))
    data = load(f"{tmp_path}/one/a.tar#{tmp_path}/two/a.tar", image_size=8)
    assert data.train.names == alone
    assert data.test.names == tuple(f"a.tar/{name}" for name in alone)
    data = load(f"{tmp_path}/{{one,two}}/a.tar#{tmp_path}/deep/one/a.tar", image_size=8)
    assert data.train.names == tuple(
        f"{top}/a.tar/{name}" for top in ("one", "two") for name in alone
    )
    assert data.test.names == tuple(f"deep/one/a.tar/{name}" for name in alone)
    # a name that says what another gets before it
    pack(tmp_path / "b.tar", [("a.tar/0.png", image(7)), ("0.png", image(8))])
    data = load(f"{tmp_path}/{{one/a,b}}.tar#{tmp_path}/two/a.tar", image_size=8)
    assert len({*(data.train.names or ()), *(data.test.names or ())}) == 12


@pytest.mark.parametrize("between", [[], [("other.png", b"x")]])
def test_a_file_that_is_there_twice_is_refused(
    tmp_path: Path, between: list[tuple[str, bytes]]
) -> None:
    pack(tmp_path / "x.tar", [("0.png", image(1)), *between, ("0.png", image(2))])
    assert "0.png is there twice; pack" in fault(str(tmp_path / "x.tar"))


def test_a_file_too_long_to_be_a_class_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relatum.datasets.shard.LONGEST", 10)
    pack(tmp_path / "x.tar", [("0.png", image(1)), ("0.cls", b"1" * 11)])
    assert "0.cls has 11 bytes, which is no class" in fault(str(tmp_path / "x.tar"))
