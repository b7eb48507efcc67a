"""What `evaluate:` shows and measures, computed from an engine and loaded evaluators."""
