"""Many runs as one job: what is done is not done again, and one that fails stops no other."""

from relatum.bench.experiment import Cell, Failure, run_all
from relatum.bench.study import rehearsed, run_plan

__all__ = ["Cell", "Failure", "rehearsed", "run_all", "run_plan"]
