"""Lightning's Trainer around relatum: a student, a teacher, two relational losses.

The teacher is no part of the module: the optimiser, DDP and checkpoints do not see it. Needs
Lightning.
"""

import logging

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import mobilenet_v3_small, resnet18

from relatum import Distiller, Objective, Tapped, Teacher, Term, find_taps
from relatum.integrations.lightning import DistillationModule, student_state
from relatum.losses import RRKD, SP, CrossEntropy
from relatum.schedules import cosine

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
torch.manual_seed(0)
images, labels = torch.rand(16, 3, 32, 32), torch.randint(10, (16,))  # in [0, 1]
large, small = resnet18(num_classes=10), mobilenet_v3_small(num_classes=10)
distiller = Distiller(
    Tapped(small, find_taps(small, images[:2])),
    Teacher(large, find_taps(large, images[:2])),
    Objective(
        ce=Term(CrossEntropy()),
        sp=Term(SP(), on="maps", weight=3000.0),
        rrkd=Term(RRKD(), on="embedding"),
    ),
)
module = DistillationModule(
    distiller, lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9), cosine()
)
loader = DataLoader(TensorDataset(images, labels), batch_size=8)
quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
trainer = Trainer(max_epochs=1, accelerator="cpu", **quiet)
trainer.fit(module, loader, loader)
trainer.save_checkpoint("last.ckpt")

checkpoint = torch.load("last.ckpt", weights_only=True)
small.load_state_dict(student_state(checkpoint))  # the bare network's own names
found = trainer.callback_metrics["validation_top1"]
print(f"validation_top1 {found:.1f} %; the checkpoint holds no teacher")
