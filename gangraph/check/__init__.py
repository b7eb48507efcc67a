"""Stage 4: a graph to a graph of which everything is known."""
