"""Many runs as one job: what is done is not done again, and one that fails stops no other."""

from relatum.bench.experiment import Cell, Failure, run_all
from relatum.bench.study import run_plan

__all__ = ["Cell", "Failure", "run_all", "run_plan"]
