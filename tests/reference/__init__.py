"""Six classic systems as textbook PyTorch: what the derived programs must equal and are timed against.

Nothing here imports gangraph, so that agreement between the two is evidence.
"""
