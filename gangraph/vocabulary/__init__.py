"""The words of the language: layers, ops and losses. Importing this package registers them."""

from gangraph.vocabulary import coupled, layers, losses, metrics, ops

__all__ = ["coupled", "layers", "losses", "metrics", "ops"]
