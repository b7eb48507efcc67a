"""All data sources; importing this module registers them."""

from gangraph.data import arrays, digits, folders, random, torchvision_sets
from gangraph.data.world import plane, source

__all__ = ["arrays", "digits", "folders", "plane", "random", "source", "torchvision_sets"]
