"""A whole small distillation as one writes it: scikit-learn's digits, a teacher, a student by SP.

    python benchmarks/usual_digits.py --out FOLDER

It imports nothing of relatum: the networks are written out, those of ``relatum.models.digits``.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS, BATCH, RATE = 30, 64, 0.05


class Network(nn.Module):
    """Convolutions with BatchNorm and ReLU, a pool between two, a classifier on the mean."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for place, (entering, width) in enumerate(zip((1, *widths), widths, strict=False)):
            layers += [nn.MaxPool2d(2)] if place else []
            layers += [nn.Conv2d(entering, width, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
        self.maps = nn.Sequential(*layers)
        self.fc = nn.Linear(widths[-1], 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The last map, and the logits."""
        maps = self.maps(images)
        return maps, self.fc(maps.mean((2, 3)))


def sets() -> tuple[TensorDataset, TensorDataset]:
    """Four fifths to train, one to test, normalised."""
    found = load_digits()
    images = (found.images / 16).astype(np.float32)[:, None]
    parts = train_test_split(images, found.target, test_size=0.2, stratify=found.target)
    train, test, train_labels, test_labels = map(torch.as_tensor, parts)
    mean, std = train.mean(), train.std()
    return (
        TensorDataset((train - mean) / std, train_labels),
        TensorDataset((test - mean) / std, test_labels),
    )


def train(student: Network, teacher: Network | None, loader: DataLoader[Any]) -> None:
    """Cross-entropy, and SP where there is a teacher."""
    optimizer = torch.optim.SGD(student.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (1 + math.cos(math.pi * step / (EPOCHS * len(loader)))) / 2
    )
    student.train()
    for _ in range(EPOCHS):
        meter = 0.0
        for images, labels in loader:
            maps, logits = student(images)
            loss = F.cross_entropy(logits, labels)
            if teacher is not None:
                with torch.no_grad():
                    taught, _ = teacher(images)
                loss = loss + 3000 * similarity(maps, taught)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            meter += loss.item()


def similarity(student: Tensor, teacher: Tensor) -> Tensor:
    """SP (Tung & Mori 2019)."""
    ours, theirs = student.flatten(1), teacher.flatten(1)
    gap = F.normalize(ours @ ours.T) - F.normalize(theirs @ theirs.T)
    return gap.pow(2).sum() / len(ours) ** 2


def accuracy(network: Network, test: TensorDataset) -> float:
    """On the test part."""
    network.eval()
    images, labels = test.tensors
    with torch.no_grad():
        return float((network(images)[1].argmax(1) == labels).float().mean())


def main() -> None:
    """Train the teacher, then the student; say how good it is, and save it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    torch.manual_seed(0)
    training, test = sets()
    loader = DataLoader(training, BATCH, shuffle=True, drop_last=True)
    teacher, student = Network((16, 32, 64)), Network((3, 6, 12))
    train(teacher, None, loader)
    print(f"teacher {accuracy(teacher, test):.2%}")
    train(student, teacher.eval(), loader)
    print(f"student {accuracy(student, test):.2%}")
    out.mkdir(parents=True)
    torch.save(student.state_dict(), out / "student.pt")


if __name__ == "__main__":
    main()
