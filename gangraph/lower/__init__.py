"""Stage 6: a plan to code."""
