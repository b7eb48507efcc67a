"""A run on disk: its folder, its checkpoints, its results. What is read may come from anywhere, and is checked."""
