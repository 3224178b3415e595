"""The Trainer of transformers around relatum: a ResNet teaches a ViT, without labels.

What is evaluated and saved is the bare student. Needs transformers and accelerate.
"""

import torch
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
)

from relatum import Objective, Term
from relatum.integrations.huggingface import DistillationTrainer
from relatum.losses import KD, RRKD, SP

torch.manual_seed(0)
sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
student = ViTForImageClassification(
    ViTConfig(**sizes, intermediate_size=64, image_size=32, patch_size=8, num_labels=10)
)
teacher = ResNetForImageClassification(  # .from_pretrained(…) for one that knows something
    ResNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], num_labels=10)
)
trainer = DistillationTrainer(
    student,
    TrainingArguments(
        "trained",
        per_device_train_batch_size=32,
        max_steps=4,
        logging_steps=1,
        learning_rate=1e-2,
        report_to=[],
    ),
    teacher=teacher,
    objective=Objective(
        kd=Term(KD()), sp=Term(SP(), on="embedding"), rrkd=Term(RRKD(), on="embedding")
    ),
    train_dataset=[{"pixel_values": each} for each in torch.randn(32, 3, 32, 32)],
)
trainer.train()
for step, row in enumerate(trainer.state.log_history[:4], start=1):
    print(f"step {step}: loss {row['loss']:.3f}")
trainer.save_model("trained/last")
ViTForImageClassification.from_pretrained("trained/last")
print("saved by its own names")
