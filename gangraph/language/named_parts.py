"""The parts of networks that places name."""

from gangraph.language.place import Place
from gangraph.language.spec import NetworkSpec
from gangraph.language.tied import members_of, with_inner

ANONYMOUS = "anonymous"  # where layers stand that belong to no part


def parts_at(network: NetworkSpec, place: Place) -> tuple[str, ...]:
    """The parts of a network at a place: a part, or all members of a family, and the parts in their chains.

    For a place within a part it is that part alone. There are none if the network has no such part.
    """
    if not place.path:
        return tuple(network.parts)
    members = members_of(network, place.part) or [place.part] * (place.part == ANONYMOUS)
    return tuple(members if place.within else with_inner(network, members))
