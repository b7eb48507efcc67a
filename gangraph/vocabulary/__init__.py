"""The words of the language: layers, ops, losses, metrics and optimizers. Importing this package registers them."""

from gangraph.vocabulary import (
    arithmetic,
    causal,
    choosing,
    coupled,
    imagenet,
    layers,
    losses,
    metrics,
    ops,
    optimizers,
    patterns,
    styles,
)

__all__ = [
    "arithmetic", "causal", "choosing", "coupled", "imagenet", "layers", "losses", "metrics", "ops", "optimizers",
    "patterns", "styles",
]  # fmt: skip
