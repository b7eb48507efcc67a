"""Which parameters of a network a spec means by a part, a layer or a parameter of it."""

from collections.abc import Iterable

from gangraph.graph.code_names import module_name
from gangraph.language.place import Place
from gangraph.language.places import parts_at
from gangraph.language.spec import NetworkSpec
from gangraph.language.tied import Networks

Key = tuple[str, str]  # the network that owns a layer or a parameter, and its path


def paths_at(network: NetworkSpec, place: Place) -> tuple[str, ...]:
    """Where modules or parameters stand that a place is about, as in the names of parameters: `last.conv2d`.

    The whole network has the one path "". There is none for a part that the network lacks.
    """
    if not place.path:
        return ("",)
    within = f".{place.within}" if place.within else ""
    return tuple(f"{module_name(part)}{within}" for part in parts_at(network, place))


def beneath(names: Iterable[str], paths: Iterable[str]) -> tuple[str, ...]:
    """The names that stand at one of some paths, or beneath it, in their order."""
    chosen = tuple(paths)
    return tuple(name for name in names if any(_is_beneath(name, path) for path in chosen))


def meet(first: Iterable[str], second: Iterable[str]) -> bool:
    """Whether something may stand beneath paths of both."""
    others = tuple(second)
    return any(_is_beneath(a, b) or _is_beneath(b, a) for a in first for b in others)


def owner_at(networks: Networks, network: str, path: str) -> Key:
    """A path in a network with the network that owns the part: another one, where the part is shared with that."""
    spec = networks.get(network)
    shares = spec.shares if isinstance(spec, NetworkSpec) else ()
    part = path.partition(".")[0]
    return next((share.network for share in shares if module_name(share.part) == part), network), path


def _is_beneath(name: str, path: str) -> bool:
    return not path or name == path or name.startswith(f"{path}.")
