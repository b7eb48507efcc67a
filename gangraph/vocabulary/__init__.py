"""The words of the language: layers, ops, losses, metrics and optimizers. Importing this package registers them."""

from gangraph.vocabulary import (
    causal,
    coupled,
    filters,
    geometry,
    imagenet,
    layers,
    losses,
    metrics,
    ops,
    optimizers,
    several,
    styles,
)

__all__ = [
    "causal", "coupled", "filters", "geometry", "imagenet", "layers", "losses", "metrics", "ops", "optimizers",
    "several", "styles",
]  # fmt: skip
