"""Reproductions: a paper's ablations over seeds, and what its claims come to."""
