"""What a run does, told in plain sentences."""

from gangraph.views.explain.story import explain, explain_text
from gangraph.views.explain.update import explain_update

__all__ = ["explain", "explain_text", "explain_update"]
