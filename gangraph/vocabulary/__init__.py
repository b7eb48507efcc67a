"""The words of the language: layers, ops and losses. Importing this package registers them."""

from gangraph.vocabulary import layers, losses, metrics, ops

__all__ = ["layers", "losses", "metrics", "ops"]
