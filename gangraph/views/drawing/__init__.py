"""A graph as a picture: a self-contained SVG of a training step's data flow, or of a network's layers."""

from gangraph.views.drawing.network import draw_network, network_picture
from gangraph.views.drawing.picture import Picture
from gangraph.views.drawing.step import draw, step_picture

__all__ = ["Picture", "draw", "draw_network", "network_picture", "step_picture"]
