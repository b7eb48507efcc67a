"""Parts and layers of networks that a spec names outside of them."""

from gangraph.errors import nearest, refuse
from gangraph.graph.code_names import module_name
from gangraph.graph.model import NetworkGraph
from gangraph.language.named_parts import parts_at
from gangraph.language.place import Place
from gangraph.language.tied import family_of


def require_place(place: Place, network: NetworkGraph) -> None:
    """Refuse a part that a network does not have, or a layer that the part does not have. Raises SpecError."""
    if not place.part:
        return
    parts = parts_at(network.spec, place)
    if not parts:
        families = (family_of(part) for part in network.spec.parts if family_of(part) != part)
        known = [*network.spec.parts, *dict.fromkeys(families)]
        refuse(
            "GG544",
            f"'{place.network}' has no part '{place.part}'",
            place.span,
            place.written,
            "one of " + ", ".join(f"{place.network}.{part}" for part in known),
            nearest(place.part, known),
        )
    paths = (path.partition(".") for path in network.layers)
    modules = {module_name(part) for part in parts}
    layers = list(dict.fromkeys(layer for module, _, layer in paths if module in modules))
    layer = place.within.partition(".")[0]
    if place.within and layer not in layers:
        refuse(
            "GG544",
            f"part '{place.part}' of '{place.network}' has no layer '{layer}'",
            place.span,
            place.written,
            "one of " + ", ".join(layers) if layers else f"{place.network}.{place.part}: it has no layers of its own",
            nearest(layer, layers),
        )
