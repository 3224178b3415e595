"""One loss in a loop of your own, on several processes: it says what one process would say.

    torchrun --nproc-per-node 4 examples/several_processes.py
    python examples/several_processes.py

print the same losses. What SP compares is gathered from all processes, with gradient, so each of
them computes the loss of the whole batch; DDP's mean of the gradients is then that of one process.
"""

import os

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from relatum import world
from relatum.losses import SP

if "RANK" in os.environ:
    torch.distributed.init_process_group("gloo")
torch.manual_seed(0)
teacher = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU()).eval()
student: nn.Module = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU())
if world.size() > 1:
    student = DistributedDataParallel(student)
similarity = SP()
optimizer = torch.optim.SGD(student.parameters(), lr=0.05)

everything = torch.rand(30, 1, 16, 16)
images = everything[world.own(len(everything))]  # this process's part
for step in range(1, 6):
    lengths = world.shares(len(everything))  # world.counts(len(images), device) asks the others
    with torch.no_grad():
        taught = teacher(images)
    said = world.gather(student(images), lengths)
    loss = 1000 * similarity(said, world.gather(taught, lengths))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if world.rank() == 0:
        print(f"step {step}: loss {loss.item():.6f}")
if world.size() > 1:
    torch.distributed.barrier()
    del student  # DDP holds the group, and its threads are to end before the interpreter does
    torch.distributed.destroy_process_group()
