"""How many threads a training computes with."""

import torch

from relatum.evaluate import macs
from relatum.recipes.recipe import Recipe
from relatum.run.networks import Pair
from relatum.run.run_teacher import tapped_of
from relatum.run.sets import Sets

THREADS = torch.get_num_threads()
"""What the process began with: the processors, or what ``OMP_NUM_THREADS`` says."""
SMALL_STEP = 200_000_000
"""Multiply-adds of a batch through both networks below which one thread is as fast as many."""


def set_threads(recipe: Recipe, sets: Sets, pair: Pair) -> None:
    """One thread for small steps: they gain nothing from a second, and wait for it where others
    use its core. It also makes their results the same on machines with more of them."""
    networks = [pair.student, *tapped_of(pair.teacher)]
    work = recipe.batch_size * sum(macs(network, sets.shape) for network in networks)
    torch.set_num_threads(1 if work < SMALL_STEP else THREADS)
