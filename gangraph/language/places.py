"""What a spec writes for a network, a part of it, a layer or one parameter: `G`, `G.last`, `G.last.conv2d.weight`."""

from dataclasses import dataclass

from gangraph.errors import Span
from gangraph.language.expression.model import Expression, dotted
from gangraph.language.spec import NetworkSpec
from gangraph.language.tied import members_of, with_inner

ANONYMOUS = "anonymous"  # where layers stand that belong to no part


@dataclass(frozen=True, slots=True)
class Place:
    """A network, or by a `path` something in it: a part, and after it a layer and a parameter of that layer."""

    network: str
    path: str
    span: Span

    @property
    def written(self) -> str:
        """`G`, `G.last`, `G.block[2].conv2d.weight`."""
        return f"{self.network}.{self.path}" if self.path else self.network

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


def parts_at(network: NetworkSpec, place: Place) -> tuple[str, ...]:
    """The parts of a network that a place is about: a part, or each of a family, with the parts in their chains.

    Of a place within a part it is the part alone. There are none where the network has no such part.
    """
    if not place.path:
        return tuple(network.parts)
    members = members_of(network, place.part) or [place.part] * (place.part == ANONYMOUS)
    return tuple(members if place.within else with_inner(network, members))
