"""What anything that was measured is called, and its unit: as in tables, or nearly."""

from relatum.report.table import METRICS, Metric

_OTHERS = (
    Metric("top5", "top-5"),
    Metric("nearest", "nearest neighbour"),
    Metric("gap_gram", "relation gap, products", percent=False, higher=False),
    Metric("gap_distance", "relation gap, distances", percent=False, higher=False),
    Metric("gap_gaussian", "relation gap, Gaussian", percent=False, higher=False),
    Metric("map_at_r", "mAP@R"),
    Metric("recall_5", "R@5"),
    Metric("recall_10", "R@10"),
    Metric("reconstruction", "reconstruction error", percent=False, higher=False),
)
_KNOWN = {metric.name: metric for metric in (*METRICS, *_OTHERS)}
_AT = {"best_on_test_": "best on test", "best_": "best by validation"}
"""Of which epoch, by what stands before a metric's name in a record."""


def metric_of(name: str) -> Metric:
    """The metric that a record calls so.

    Example:
        >>> metric_of("gap_cosine").heading, metric_of("best_top1").heading
        ('relation gap ↓', 'top-1, best by validation %')
    """
    for prefix, when in _AT.items():
        known = _KNOWN.get(name.removeprefix(prefix))
        if known is not None and name.startswith(prefix):
            return Metric(name, f"{known.title}, {when}", known.percent, known.higher)
    return _KNOWN.get(name) or Metric(name, name.replace("_", " "), percent=False)
