"""Train, measure and record what a recipe says."""

from relatum.run.display import Display, Silent
from relatum.run.run import run

__all__ = ["Display", "Silent", "run"]
