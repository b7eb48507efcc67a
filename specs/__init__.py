"""The specs that gangraph ships: one file per paper, and `networks/` that they are built from."""
