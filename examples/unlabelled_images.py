"""Images without labels: RRKD from one network to a smaller one, from bytes to saved weights.

The images are coloured squares here; yours are a uint8 tensor (samples, channels, height, width),
or ``load("folder:photos").train``. Only bytes stay in memory; batches are cut from them.
"""

from pathlib import Path
from tempfile import mkdtemp

import torch
from torchvision.models import resnet18

from relatum import (
    Batches,
    Distiller,
    Input,
    Objective,
    Resident,
    Tapped,
    Teacher,
    Term,
    find_taps,
    save_weights,
)
from relatum.fit import fit
from relatum.losses import RRKD
from relatum.models import create
from relatum.schedules import cosine

torch.manual_seed(0)
squares = torch.randint(256, (96, 3, 4, 4), dtype=torch.uint8)
images = Resident(squares.repeat_interleave(8, 2).repeat_interleave(8, 3))
example = torch.rand(2, 3, 32, 32)

# Each network has a size and a normalisation of its own: these are ImageNet's, but for the size.
imagenet = Input((64, 64), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
large = resnet18()  # weights="DEFAULT" for a teacher that knows something
teacher = Teacher(large, find_taps(large, example), imagenet)
small = create("resnet8", channels=3, size=32, classes=10)
student = Tapped(small, find_taps(small, example), Input(mean=(0.5,), std=(0.25,)))

distiller = Distiller(student, teacher, Objective(rrkd=Term(RRKD(), on="embedding")))
batches = Batches(images, 16, shuffle=True)
resting = distiller.rest(next(batches.epoch(0)))
print(f"without labels nothing teaches {', '.join(resting)}")

optimizer = torch.optim.SGD(distiller.parameters(), lr=0.5, momentum=0.9)
for epoch in fit(distiller, batches, optimizer, cosine(), epochs=4):
    print(f"epoch {epoch.number}: rrkd {epoch.losses['rrkd']:.6f} over {epoch.samples} images")

weights = Path(mkdtemp()) / "student.safetensors"
save_weights(distiller.deployed(), weights, {"model": "resnet8"})
print(f"{weights.name}: {weights.stat().st_size:,} bytes")
