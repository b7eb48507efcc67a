"""All data sources; importing this module registers them."""

from gangraph.data import (
    arrays,
    captions,
    digits,
    fixed,
    folders,
    idx,
    photographs,
    random,
    table,
    torchvision_sets,
    videos,
    wav,
)
from gangraph.data.world import plane, source

__all__ = [
    "arrays",
    "captions",
    "digits",
    "fixed",
    "folders",
    "idx",
    "photographs",
    "plane",
    "random",
    "source",
    "table",
    "torchvision_sets",
    "videos",
    "wav",
]
