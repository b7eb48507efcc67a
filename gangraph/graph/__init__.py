"""The graph of a spec: the model that every later stage reads."""
