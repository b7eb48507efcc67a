"""Stage 3: a spec to a graph."""
