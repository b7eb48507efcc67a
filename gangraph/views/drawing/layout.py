"""Where the boxes and wires of a drawing stand."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Where a box stands: its upper left corner, and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The x of its right side."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The y of its lower side."""
        return self.y + self.height


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A piece of the trunk of `source`: straight, a cubic curve, straight. `target` is empty where it goes on."""

    source: str
    target: str
    points: tuple[Point, Point, Point, Point, Point, Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All boxes and wires; the upper left corner is the origin."""

    boxes: Mapping[str, Box]
    wires: tuple[Wire, ...]
    width: float
    height: float

    @property
    def length(self) -> float:
        """How far all wires rise and fall together."""
        return sum(abs(wire.points[0][1] - wire.points[-1][1]) for wire in self.wires)

    @property
    def transposed(self) -> "Layout":
        """The layout with right and down exchanged."""
        boxes = {name: Box(x=box.y, y=box.x, width=box.height, height=box.width) for name, box in self.boxes.items()}
        wires = tuple(replace(wire, points=tuple((y, x) for x, y in wire.points)) for wire in self.wires)  # type: ignore[arg-type]  # as many points
        return Layout(boxes=boxes, wires=wires, width=self.height, height=self.width)
