"""A loss of your own, beside all others: same steps, same seeds, same table.

    relatum distill --method sp,own_loss.py:MyLoss@embedding=10 --seeds 3

trains the student alone, with SP, and with this loss at weight 10 on the embedding;
``sp+own_loss.py:MyLoss@embedding=10`` would join the two. A loss is an ``nn.Module`` whose
``forward`` names what it needs: ``student``, ``teacher``, ``labels``, ``indices`` and so on. The
command builds it with those of ``student_dim``, ``teacher_dim``, ``samples`` and ``classes`` that
its constructor asks for.
"""

import torch
from torch import Tensor, nn

from relatum import relations
from relatum.divergences import huber


class MyLoss(nn.Module):
    """Match the cosines of all pairs, without what they have in common."""

    relational = True  # on several devices, it sees the batch of all of them

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Embeddings (batch, any width) to a scalar."""
        ours = relations.centred(relations.cosine(student))
        theirs = relations.centred(relations.cosine(teacher))
        return huber(ours, theirs)


if __name__ == "__main__":
    torch.manual_seed(0)
    student, teacher = torch.randn(16, 32, requires_grad=True), torch.randn(16, 64)
    loss = MyLoss()(student, teacher)
    loss.backward()
    print(f"loss {loss.item():.4f}; gradient of length {student.grad.norm():.4f} to the student")
    print(f"a student that relates as its teacher does: {MyLoss()(teacher, teacher).item():.4f}")
