"""RRKD with anchors of your choice: every image is related to the same few.

Without anchors a batch is related to itself. With them, both networks encode the same images at
every step, so a sample's relations do not hang on who else is in its batch. Here: ten digits of
each class, and a teacher that has learnt nothing yet.
"""

import torch

from relatum import Batches, Distiller, Input, Objective, Resident, Tapped, Teacher, Term, load
from relatum.fit import fit
from relatum.losses import RRKD
from relatum.models import create
from relatum.schedules import constant

torch.manual_seed(0)
digits = load("digits")
labels = digits.train.labels
chosen = torch.cat([(labels == number).nonzero()[:10, 0] for number in range(10)])
anchors = digits.train.float(chosen)

shape = {"channels": 1, "size": 8, "classes": 10}
large, small = create("digits-cnn-large", **shape), create("digits-cnn-small", **shape)
own = Input(mean=digits.mean, std=digits.std)
teacher, student = Teacher(large, large.taps, own), Tapped(small, small.taps, own)

objective = Objective(rrkd=Term(RRKD(), on="embedding"))
distiller = Distiller(student, teacher, objective, anchors=anchors)
unlabelled = Batches(Resident(digits.train.images), 64, shuffle=True)
optimizer = torch.optim.SGD(distiller.parameters(), lr=0.05, momentum=0.9)
print(f"{len(unlabelled.data)} images, each related to the same {len(anchors)}")
for epoch in fit(distiller, unlabelled, optimizer, constant(), epochs=3):
    print(f"epoch {epoch.number}: rrkd {epoch.losses['rrkd']:.4f} in {epoch.seconds:.1f} s")
