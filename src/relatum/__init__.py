"""Relational knowledge distillation: teach a small network how a large one relates its samples."""

__version__ = "0.1.0"
