"""The words of the language: layers, ops, losses, metrics and optimizers. Importing this package registers them."""

from gangraph.vocabulary import (
    arithmetic,
    causal,
    choosing,
    coupled,
    geometry,
    imagenet,
    layers,
    losses,
    metrics,
    motion,
    ops,
    optimizers,
    patterns,
    recurrent,
    series,
    several,
    styles,
)

__all__ = [
    "arithmetic", "causal", "choosing", "coupled", "geometry", "imagenet", "layers", "losses", "metrics", "motion",
    "ops", "optimizers", "patterns", "recurrent", "series", "several", "styles",
]  # fmt: skip
