"""Train, measure and record what a recipe says."""

from relatum.run.display import Display, Silent
from relatum.run.job import run

__all__ = ["Display", "Silent", "run"]
