"""Metrics: pure functions from all evaluated values to one number. Each says whether higher or lower is better.

Images [N, C, H, W] are in [-1, 1] unless a metric says otherwise. Libraries that only some metrics need are imported
when these are computed.
"""

from gangraph.vocabulary.metrics import codes, distributions, images, labels, likelihood, modes

__all__ = ["codes", "distributions", "images", "labels", "likelihood", "modes"]
