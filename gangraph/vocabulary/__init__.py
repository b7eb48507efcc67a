"""The words of the language: layers, ops and losses. Importing this package registers them."""

from gangraph.vocabulary import causal, coupled, layers, losses, metrics, ops, styles

__all__ = ["causal", "coupled", "layers", "losses", "metrics", "ops", "styles"]
