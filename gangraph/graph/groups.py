"""Which parameters an optimizer group trains, and which of its entries each belongs to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gangraph.graph.code_names import module_name
from gangraph.graph.parts import Key, beneath, meet, owner_at, paths_at
from gangraph.language.named_parts import ANONYMOUS
from gangraph.language.place import Place
from gangraph.language.spec import VARIABLE, NetworkSpec
from gangraph.language.tied import Networks
from gangraph.language.update_spec import Entry, OptimizerSpec


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a group: a network that has it, its name there, and the number of its entry."""

    network: str
    name: str
    entry: int


@dataclass(frozen=True, slots=True)
class Assigned:
    """The parameters of a group, each once, network by network.

    `unclear` are pairs of entries that claim the same parameters, none of which is the more specific one.
    """

    parameters: tuple[Parameter, ...]
    unclear: tuple[tuple[Entry, Entry], ...] = ()

    @property
    def entries(self) -> tuple[int, ...]:
        """The number of the entry of each parameter."""
        return tuple(each.entry for each in self.parameters)

    def left_for(self, entry: int) -> bool:
        """Whether an entry has parameters of its own."""
        return any(each.entry == entry for each in self.parameters)


def assign(group: OptimizerSpec, networks: Networks, names: Mapping[str, Iterable[str]]) -> Assigned:
    """Give each parameter to the most specific entry of a group: the one with the fewest others.

    Args:
        group: an optimizer group.
        networks: the networks of the spec.
        names: the names of the parameters of each network that has layers, in order.
    """
    named = {name: tuple(each) for name, each in names.items()}
    claims = [_claimed(entry.place, networks, named) for entry in group.entries]
    found: dict[Key, Parameter] = {}
    unclear: dict[tuple[int, int], None] = {}
    for network in dict.fromkeys(network for network, _ in group.networks if network in named):
        for name in named[network]:
            key = owner_at(networks, network, name)
            those = [number for number, claim in enumerate(claims) if key in claim]
            least = [i for i in those if not any(claims[j] < claims[i] for j in those)]
            if least and key not in found:
                found[key] = Parameter(network, name, least[0])
                unclear |= dict.fromkeys((least[0], i) for i in least[1:] if _apart(group, least[0], i))
    pairs = tuple((group.entries[first], group.entries[second]) for first, second in unclear)
    return Assigned(tuple(found.values()), pairs)


def share_parameters(networks: Networks, first: Iterable[Place], second: Iterable[Place]) -> bool:
    """Whether places of both may have a parameter in common, in one network or in networks that share a part."""
    ours, theirs = ([key for place in places for key in owned(networks, place)] for places in (first, second))
    return any(a == b and meet([one], [two]) for a, one in ours for b, two in theirs)


def owned(networks: Networks, place: Place) -> list[Key]:
    """The paths at a place, each with its owner; for a whole network those of its parts, or of its only tensor."""
    spec = networks[place.network]
    assert isinstance(spec, NetworkSpec)
    paths = paths_at(spec, place)
    if not place.path:
        paths = (VARIABLE,) if spec.start is not None else (*map(module_name, spec.parts), ANONYMOUS)
    return [owner_at(networks, place.network, path) for path in paths]


def _claimed(place: Place, networks: Networks, names: Mapping[str, tuple[str, ...]]) -> frozenset[Key]:
    """The parameters at a place."""
    spec = networks.get(place.network)
    if not isinstance(spec, NetworkSpec) or place.network not in names:
        return frozenset()
    chosen = beneath(names[place.network], paths_at(spec, place))
    return frozenset(owner_at(networks, place.network, name) for name in chosen)


def _apart(group: OptimizerSpec, first: int, second: int) -> bool:
    """Whether two entries differ in their options, or name the same part."""
    one, two = group.entries[first], group.entries[second]
    return one.options != two.options or (one.place == two.place and bool(one.place.path))
