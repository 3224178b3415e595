"""Train, measure and record what a recipe says."""

from relatum.run.display import Display, Silent
from relatum.run.run import Alteration, run

__all__ = ["Alteration", "Display", "Silent", "run"]
