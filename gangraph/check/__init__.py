"""Stage 4: a graph to the same graph with types, instantiated networks and lints."""
