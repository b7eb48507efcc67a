"""Printers of expressions: formulas in drawings, LaTeX, and sentences."""
