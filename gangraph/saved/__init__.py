"""What runs leave on disk and a spec may name: checkpoints are found, and their states read, without torch."""
