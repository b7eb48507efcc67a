"""Which parameters of a network belong to one of its parts or layers."""

from collections.abc import Iterable

from gangraph.graph.code_names import module_name
from gangraph.language.named_parts import parts_at
from gangraph.language.place import Place
from gangraph.language.spec import NetworkSpec
from gangraph.language.tied import Networks

Key = tuple[str, str]  # the network that owns a layer or a parameter, and its path


def paths_at(network: NetworkSpec, place: Place) -> tuple[str, ...]:
    """The paths of the modules or parameters at a place, as in the names of parameters: `last.conv2d`.

    For the whole network this is the path ""; for a part that the network lacks there is none.
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
    """Whether a path of the one is the same as, or beneath, a path of the other."""
    others = tuple(second)
    return any(_is_beneath(a, b) or _is_beneath(b, a) for a in first for b in others)


def owner_at(networks: Networks, network: str, path: str) -> Key:
    """The network that owns what is at a path, and its path there; another network for a shared part."""
    spec = networks.get(network)
    shares = spec.shares if isinstance(spec, NetworkSpec) else ()
    part = path.partition(".")[0]
    return next((share.network for share in shares if module_name(share.part) == part), network), path


def _is_beneath(name: str, path: str) -> bool:
    return not path or name == path or name.startswith(f"{path}.")
