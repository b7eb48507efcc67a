"""All data sources; importing this module registers them."""

from gangraph.data import arrays, digits, fixed, folders, random, torchvision_sets
from gangraph.data.world import plane, source

__all__ = ["arrays", "digits", "fixed", "folders", "plane", "random", "source", "torchvision_sets"]
