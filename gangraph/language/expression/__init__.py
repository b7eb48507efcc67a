"""Expressions: their grammar, their static checks, and what they say over time."""
