"""Reproductions: a paper's ablations over seeds, and whether its claims hold."""
