"""What the columns of a table say, in a sentence each."""

from relatum.report.table import METRICS, Summary

MEANINGS = {
    "top1": "how often the class that it puts first is the right one",
    "probe": "how often a linear classifier is right that was fitted to its frozen embedding of the"
    " training images",
    "knn": "how often the training images that are nearest by its embedding name the right class",
    "map": "mean average precision of a search, by its embedding, for other test images of the same"
    " class",
    "recall_1": "how often the test image that is nearest by its embedding is of the same class",
    "agreement": "how often it puts the same class first as the teacher",
    "neighbours": "how many of the ten test images that are nearest to one, by its embedding, are"
    " also among the teacher's ten",
    "gap_cosine": "how far the cosines between test images are from the teacher's, both centred: 0"
    " is the same up to scale, 1 unrelated",
    "cka": "how alike its embedding and the teacher's are, whatever their widths (centred kernel"
    " alignment): 1 is the same up to scale and rotation",
    "kept": "its accuracy as a share of the teacher's: of the probe, or else top-1 or kNN",
}
"""By the names of metrics. All are of test images that no network was trained on."""


def meanings(summary: Summary) -> list[str]:
    """A sentence for each metric that a table shows."""
    lines = summary.students or summary.lines
    shown = [each for each in METRICS if any(each.name in line.metrics for line in lines)]
    return [f"{each.heading}: {MEANINGS[each.name]}." for each in shown]
