"""What a network has learnt, in numbers. Every function is pure: nothing here trains a network.

One pass collects what the networks say (``collect``); everything else is computed from that.
"""

from relatum.evaluate.accuracy import accuracy, agreement, kept
from relatum.evaluate.capture import Collected, collect
from relatum.evaluate.cost import compression, encoder_parameters, macs, parameters, reached
from relatum.evaluate.footprint import footprint
from relatum.evaluate.neighbours import MUCH, by_chance, neighbours
from relatum.evaluate.probes import VOTES, ProbeResult, knn, linear_probe
from relatum.evaluate.relation import cka, relation_gap
from relatum.evaluate.retrieval import Gallery, Retrieval, retrieval

__all__ = [
    "MUCH",
    "VOTES",
    "Collected",
    "Gallery",
    "ProbeResult",
    "Retrieval",
    "accuracy",
    "agreement",
    "by_chance",
    "cka",
    "collect",
    "compression",
    "encoder_parameters",
    "footprint",
    "kept",
    "knn",
    "linear_probe",
    "macs",
    "neighbours",
    "parameters",
    "reached",
    "relation_gap",
    "retrieval",
]
