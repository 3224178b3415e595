"""The straightforward loop that relatum is measured against: as one writes it in this field.

A ``Dataset`` gives one sample at a time (a PIL image from the array that torchvision's CIFAR sets
hold, through torchvision's transforms), a ``DataLoader`` joins them, its workers are processes; all
is eager and float32; the teacher runs in eval under ``no_grad`` at every step; the losses are a few
lines each, written from the papers' equations; and ``loss.item()`` is read at every step. Only
torch and torchvision are imported: the networks come from outside.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import transforms

Place = tuple[str, str]
"""The path of a submodule, and ``input`` or ``output``."""


class Samples(Dataset[tuple[Tensor, int]]):
    """Images as an array of bytes (N, height, width, channels), one sample at a time.

    Args:
        images: uint8.
        labels: a class for each.
        mean: of the channels, of images in [0, 1].
        std: of the channels.
        augment: crop at random out of four pixels of black on every side, and mirror half of them.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        augment: bool = True,
    ) -> None:
        self.images, self.labels = images, labels
        change = [transforms.RandomCrop(images.shape[1], padding=4)]
        change.append(transforms.RandomHorizontalFlip())
        read = [transforms.ToTensor(), transforms.Normalize(mean, std)]
        self.transform = transforms.Compose([*(change if augment else []), *read])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


class Endless(Sampler[int]):
    """Every sample once, in another order each time, without end: no worker is ever restarted."""

    def __init__(self, samples: int) -> None:
        self._samples = samples

    def __iter__(self) -> Iterator[int]:
        while True:
            yield from torch.randperm(self._samples).tolist()


def endless(samples: Samples, batch: int, workers: int, device: torch.device) -> Iterator[Any]:
    """Batches of a ``DataLoader`` without end."""
    loader = DataLoader(
        samples,
        batch,
        sampler=Endless(len(samples)),
        num_workers=workers,
        pin_memory=device.type == "cuda",
        drop_last=True,
    )
    return iter(loader)


class Features(nn.Module):
    """A network that also returns what passes through one place."""

    def __init__(self, network: nn.Module, place: Place) -> None:
        super().__init__()
        self.network = network
        path, at = place[:2]
        module = network.get_submodule(path)
        if at == "input":
            module.register_forward_pre_hook(lambda _, entering: self._keep(entering[0]))
        else:
            module.register_forward_hook(lambda _module, _entering, left: self._keep(left))

    def _keep(self, value: Tensor) -> None:
        self.kept = value

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What passed there, and the logits."""
        logits = self.network(images)
        return self.kept, logits


class SP(nn.Module):
    """Similarity-preserving distillation (Tung & Mori 2019, equations 1 to 4)."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Maps of both networks to the loss."""
        batch = len(student)
        ours, theirs = student.reshape(batch, -1), teacher.reshape(batch, -1)
        gap = F.normalize(ours @ ours.t()) - F.normalize(theirs @ theirs.t())
        return gap.pow(2).sum() / batch**2


class RRD(nn.Module):
    """Relational representation distillation (Giakoumoglou & Stathaki), a queue of 16,384."""

    queue: Tensor

    def __init__(self, student_width: int, teacher_width: int) -> None:
        super().__init__()
        self.student_head = nn.Linear(student_width, 128)
        self.teacher_head = nn.Linear(teacher_width, 128).requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(16384, 128)))
        self.pointer = 0

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Embeddings of both networks to the loss; the teacher's join the queue before."""
        ours = F.normalize(self.student_head(student))
        with torch.no_grad():
            theirs = F.normalize(self.teacher_head(teacher))
            self.queue[self.pointer : self.pointer + len(theirs)] = theirs
            self.pointer = (self.pointer + len(theirs)) % len(self.queue)
            target = F.softmax(theirs @ self.queue.t() / 0.02, dim=1)
        said = F.log_softmax(ours @ self.queue.t() / 0.1, dim=1)
        return -(target * said).sum(1).mean()


LOSSES: dict[str, tuple[str, float, Callable[[int, int], nn.Module]]] = {
    "sp": ("maps", 3000.0, lambda student, teacher: SP()),
    "rrd": ("embedding", 1.0, RRD),
}
"""What each reads, its weight, and how it is built from the widths of student and teacher."""


class UsualLoop:
    """The training: networks on their device, cross-entropy and one loss, SGD, a meter.

    Args:
        student: the network that learns, from normalised images to logits.
        teacher: the network that it learns from.
        method: one of ``LOSSES``.
        places: what the loss reads of the student and of the teacher.
        widths: of their embeddings, for heads.
        device: where they are.
        rate: the learning rate.
        decay: the weight decay.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        method: str,
        places: tuple[Place, Place],
        widths: tuple[int, int],
        device: torch.device,
        rate: float = 0.05,
        decay: float = 5e-4,
    ) -> None:
        _, self.weight, make = LOSSES[method]
        self.device = device
        self.student, self.teacher = Features(student, places[0]), Features(teacher, places[1])
        self.teacher.eval()
        self.loss = make(*widths).to(device)
        learning = [*student.parameters(), *self.loss.parameters()]
        self.optimizer = torch.optim.SGD(learning, lr=rate, momentum=0.9, weight_decay=decay)

    def train(self, batches: Iterable[Any]) -> list[tuple[float, float]]:
        """Go through these batches; gives the cross-entropy and the loss of every step."""
        self.student.train()
        meter = 0.0
        parts: list[tuple[Tensor, Tensor]] = []
        for images, labels in batches:
            images = images.to(self.device, non_blocking=True)
            labels = labels.to(self.device, non_blocking=True)
            with torch.no_grad():
                taught, _ = self.teacher(images)
            said, logits = self.student(images)
            task = F.cross_entropy(logits, labels)
            relation = self.loss(said, taught)
            total = task + self.weight * relation
            self.optimizer.zero_grad()
            total.backward()
            self.optimizer.step()
            meter += total.item()
            parts.append((task.detach(), relation.detach()))
        return [(task.item(), relation.item()) for task, relation in parts]
