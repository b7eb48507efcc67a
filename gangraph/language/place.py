"""What a spec writes for a network, a part of it, a layer or one parameter: `G`, `G.last`, `G.last.conv2d.weight`."""

from dataclasses import dataclass, field

from gangraph.errors import Span
from gangraph.language.expression.model import Expression, dotted


@dataclass(frozen=True, slots=True)
class Place:
    """A network, or by a `path` something in it: a part, and after it a layer and a parameter of that layer."""

    network: str
    path: str
    span: Span = field(compare=False)

    @property
    def written(self) -> str:
        """`G`, `G.last`, `G.block[2].conv2d.weight`."""
        return f"{self.network}.{self.path}" if self.path else self.network

    def is_in(self, other: "Place") -> bool:
        """Whether another place names all of it: the network, a family that it is a member of, or the place itself."""
        own, theirs = self.path, other.path
        within = not theirs or own == theirs or own.startswith((f"{theirs}.", f"{theirs}["))
        return self.network == other.network and within

    @property
    def part(self) -> str:
        """The part of the network, which may be a family; nothing for the whole network."""
        return self.path.partition(".")[0]

    @property
    def within(self) -> str:
        """What follows the part: a layer, and perhaps a parameter of it."""
        return self.path.partition(".")[2]


def place_of(written: Expression) -> Place | None:
    """The place that a reduced expression names; None where it is none."""
    network, _, path = dotted(written).partition(".")
    return Place(network, path, written.span) if network else None
