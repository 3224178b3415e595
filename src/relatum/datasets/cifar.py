"""CIFAR-10 and CIFAR-100, from their authors' archives or from the hub's Parquet files."""

import io
import pickle
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relatum.data.resident import Resident
from relatum.datasets.dataset import Dataset
from relatum.datasets.decoded import remembered
from relatum.datasets.files import fetch, missing, verified
from relatum.datasets.parquet import labelled_images, shards
from relatum.types import Fault

PARTS = ("train", "test")
SIDE = 32


CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"

CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree
orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum
rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""


@dataclass(frozen=True)
class Family:
    """One of the two sets.

    Attributes:
        name: of the set, and of the folder that may hold it.
        kind: torchvision's class.
        archive: the authors' tar file, and its MD5 sum (torchvision's).
        folder: what the archive unpacks to.
        files: of each part, the pickled files in that folder and their MD5 sums.
        pickled_labels: what the labels are called in those.
        column: what they are called in the Parquet files.
        classes: their names.
        mean: of the channels.
        std: of the channels.
        samples: to train and to test.
    """

    name: str
    kind: str
    archive: tuple[str, str]
    folder: str
    files: Mapping[str, Mapping[str, str]]
    pickled_labels: str
    column: str
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    samples: tuple[int, int] = (50_000, 10_000)


CIFAR10 = Family(
    name="cifar10",
    kind="CIFAR10",
    archive=("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
    folder="cifar-10-batches-py",
    files={
        "train": {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        "test": {"test_batch": "40351d587109b95175f43aff81a1287e"},
    },
    pickled_labels="labels",
    column="label",
    classes=tuple(CIFAR10_CLASSES.split()),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)

CIFAR100 = Family(
    name="cifar100",
    kind="CIFAR100",
    archive=("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),
    folder="cifar-100-python",
    files={
        "train": {"train": "16019d7e3df5f24257cddd939b257f8d"},
        "test": {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    },
    pickled_labels="fine_labels",
    column="fine_label",
    classes=tuple(CIFAR100_CLASSES.split()),
    mean=(0.5071, 0.4867, 0.4408),
    std=(0.2675, 0.2565, 0.2761),
)


def cifar10(root: Path, download: bool = False) -> Dataset:
    """CIFAR-10: 50,000 + 10,000 colour images of 32×32 pixels in 10 classes."""
    return load(CIFAR10, root, download)


def cifar100(root: Path, download: bool = False) -> Dataset:
    """CIFAR-100: 50,000 + 10,000 colour images of 32×32 pixels in 100 (fine) classes.

    Mean and deviation are those of the RepDistiller benchmark.
    """
    return load(CIFAR100, root, download)


def load(family: Family, root: Path, download: bool = False) -> Dataset:
    """Find, check and read a family, in ``ROOT`` or in ``ROOT/cifar100`` (or ``/cifar10``).

    Taken is what is found first: the unpacked archive, the archive (both as torchvision leaves
    them), Parquet files as on the Hugging Face hub. Pickles can run code, so none is opened
    whose MD5 sum is not the published one.

    Raises:
        Fault: a file is missing, truncated, damaged or not what it should be.
    """
    found = _find(family, root)
    if found is None and download:
        fetch(family.kind, root)
        found = _find(family, root)
    if found is None:
        raise missing(family.name, [root, *_places(family, root)[:1]])
    if found.suffix == ".gz":
        tensors, note = _archive(family, found), "MD5 sum of the archive as published"
    elif found.name == family.folder:
        tensors, note = _unpacked(family, found), "MD5 sums as published"
    else:
        tensors, note = _parquet(family, found), "Parquet files: sizes and labels checked"
    parts = [_part(family, part, tensors, found) for part in PARTS]
    return Dataset(
        name=family.name,
        train=parts[0],
        test=parts[1],
        classes=family.classes,
        mean=family.mean,
        std=family.std,
        note=note,
    )


def _places(family: Family, root: Path) -> list[Path]:
    # On the hub, the files of CIFAR-10 lie in plain_text/ and those of CIFAR-100 in cifar100/.
    own = root / family.name
    return [own, own / family.name, own / "plain_text", root]


def _find(family: Family, root: Path) -> Path | None:
    for place in _places(family, root):
        if (place / family.folder).is_dir():
            return place / family.folder
        if (place / family.archive[0]).is_file():
            return place / family.archive[0]
        if any(place.glob("train-*.parquet")) or any(place.glob("test-*.parquet")):
            return place
    return None


def _part(family: Family, part: str, tensors: Mapping[str, Tensor], found: Path) -> Resident:
    images, labels = tensors[f"{part} images"], tensors[f"{part} labels"]
    wanted = family.samples[PARTS.index(part)]
    if len(images) != wanted or len(labels) != wanted:
        raise Fault(
            f"{found}: the {part} part has {len(labels):,} labels for {len(images):,} images,"
            f" wanted {wanted:,} of each; fetch its files again"
        )
    return Resident(images, labels)


def _unpacked(family: Family, folder: Path) -> dict[str, Tensor]:
    for name in (name for part in PARTS for name in family.files[part]):
        if not (folder / name).is_file():
            raise Fault(
                f"{folder}: {name} is missing; delete the folder and run again with --download"
            )
    tensors: dict[str, Tensor] = {}
    for part in PARTS:
        batches = [verified(folder / name, md5) for name, md5 in family.files[part].items()]
        tensors |= _unpickled(family, part, batches)
    return tensors


def _archive(family: Family, path: Path) -> dict[str, Tensor]:
    data = verified(path, family.archive[1])
    tensors: dict[str, Tensor] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for part in PARTS:
            members = [
                archive.extractfile(f"{family.folder}/{name}") for name in family.files[part]
            ]
            tensors |= _unpickled(family, part, [file.read() for file in members if file])
    return tensors


def _unpickled(family: Family, part: str, batches: list[bytes]) -> dict[str, Tensor]:
    """Only for bytes whose sum was checked."""
    entries: list[dict[str, Any]] = [pickle.loads(each, encoding="latin1") for each in batches]
    images = [torch.from_numpy(entry["data"]).view(-1, 3, SIDE, SIDE) for entry in entries]
    labels = [torch.tensor(entry[family.pickled_labels]) for entry in entries]
    return {f"{part} images": torch.cat(images), f"{part} labels": torch.cat(labels)}


def _parquet(family: Family, folder: Path) -> dict[str, Tensor]:
    files = {part: shards(folder, part) for part in PARTS}

    def decode() -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for part in PARTS:
            read = [
                labelled_images(path, family.column, len(family.classes), SIDE)
                for path in files[part]
            ]
            tensors[f"{part} images"] = torch.cat([images for images, _ in read])
            tensors[f"{part} labels"] = torch.cat([labels for _, labels in read])
        return tensors

    every = [path.resolve() for part in PARTS for path in files[part]]
    return remembered(f"{family.name} in {folder.resolve()}", every, decode)
