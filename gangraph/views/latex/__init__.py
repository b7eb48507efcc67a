"""A spec as mathematics: what each update minimises, over what, and what the names in it stand for, in LaTeX."""

from gangraph.views.latex.equations import Line, equations, latex_text, objective

__all__ = ["Line", "equations", "latex_text", "objective"]
