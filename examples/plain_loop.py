"""One loss in a loop of your own: SP between two timm networks of different families.

The student's last feature map has 288 channels and the teacher's 512: the loss compares which
images of a batch are alike, so nothing has to fit and nothing is projected. Needs timm.
"""

import timm
import torch

from relatum.losses import SP

torch.manual_seed(0)
teacher = timm.create_model("resnet18").eval()  # pretrained=True for a teacher that knows something
student = timm.create_model("mobilenetv3_small_050")
similarity = SP()
optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9)

images = torch.rand(32, 3, 64, 64)
for step in range(1, 9):
    with torch.no_grad():
        taught = teacher.forward_features(images)
    loss = 3000 * similarity(student.forward_features(images), taught)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step}: loss {loss.item():.3f}")
