"""The library in ten lines: any two networks, tapped without editing them, and images alone."""

import torch
from torchvision.models import mobilenet_v3_small, resnet18

from relatum import Batches, Distiller, Objective, Resident, Tapped, Teacher, Term, find_taps
from relatum.fit import fit
from relatum.losses import RRKD, SP
from relatum.schedules import cosine

images = Resident(torch.randint(256, (64, 3, 64, 64), dtype=torch.uint8))
example = torch.rand(2, 3, 64, 64)
large, small = resnet18(), mobilenet_v3_small()
teacher, student = (
    Teacher(large, find_taps(large, example)),
    Tapped(small, find_taps(small, example)),
)
objective = Objective(sp=Term(SP(), on="maps", weight=3000.0), rrkd=Term(RRKD(), on="embedding"))
distiller = Distiller(student, teacher, objective)
optimizer = torch.optim.SGD(distiller.parameters(), lr=0.05, momentum=0.9)
for epoch in fit(distiller, Batches(images, 32, shuffle=True), optimizer, cosine(), epochs=1):
    print(epoch.number, epoch.losses)
