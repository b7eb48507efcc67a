"""Shared parts: what `share=` names, and which network owns the layers."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from gangraph.errors import Span, give_up, nearest, refuse
from gangraph.language.document.sections import Sections
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.expression.static import is_absent
from gangraph.language.spec import AverageSpec, NetworkSpec, Share

Networks = Mapping[str, NetworkSpec | AverageSpec]

_USAGE = "NETWORK.part, or a list of these"


def written_shares(expression: Expression) -> tuple[Share, ...]:
    """The parts that a reduced `share` names, each as it is written. Raises SpecError."""
    if is_absent(expression) or (isinstance(expression, ast.Literal) and expression.value is None):
        return ()
    items = expression.items if isinstance(expression, ast.Sequence) else (expression,)
    return tuple(map(_written, items))


def _written(item: Expression) -> Share:
    match item:
        case ast.Attribute(base=ast.Name(id=network), name=part):
            return Share(part=part, network=network, span=item.span)
        case ast.Index(base=ast.Attribute(base=ast.Name(id=network), name=part), index=ast.Literal(value=index)):
            return Share(part=f"{part}[{index}]", network=network, span=item.span)
    return refuse(
        "GG530", "this does not name a part of a network", item.span, found=ast.unparse(item), expected=_USAGE
    )


def share_parts(networks: Networks, sections: Sections) -> dict[str, NetworkSpec | AverageSpec]:
    """The networks, with every share resolved to one part and the network that owns it.

    Families are written out, and a part shares the parts that its chain consists of.
    """
    return {
        name: replace(network, shares=tuple(_Sharing(networks, sections, name, network).all()))
        if isinstance(network, NetworkSpec) and network.shares
        else network
        for name, network in networks.items()
    }


def tied(networks: Networks) -> dict[str, tuple[str, ...]]:
    """For each network the others that have a part in common with it."""
    parts = {name: identities(name, made) for name, made in networks.items() if isinstance(made, NetworkSpec)}
    return {
        name: tuple(other for other in parts if other != name and parts[other] & own) for name, own in parts.items()
    }


def tied_to(network: NetworkSpec) -> dict[str, tuple[str, ...]]:
    """The parts that a network shares by their owner, a family of which all members are as one."""
    tied = {share.part: share.network for share in network.shares}
    owners: dict[str, dict[str, None]] = {}
    for part, owner in tied.items():
        members = members_of(network, family_of(part))
        whole = all(tied.get(member) == owner for member in members)
        owners.setdefault(owner, {})[family_of(part) if whole else part] = None
    return {owner: tuple(parts) for owner, parts in owners.items()}


def identities(name: str, network: NetworkSpec) -> set[tuple[str, str]]:
    """The parts of a network, each as its owner and its name."""
    tied = {share.part: share.network for share in network.shares}
    return {(tied.get(part, name), part) for part in network.parts}


class _Sharing:
    """The shares of one network."""

    def __init__(self, networks: Networks, sections: Sections, name: str, network: NetworkSpec) -> None:
        self.networks, self.sections, self.name, self.network = networks, sections, name, network

    def all(self) -> Iterator[Share]:
        """Every part that is shared, once. Problems are kept, and the network is then marked as broken."""
        found: dict[str, Share] = {}
        for share in self.network.shares:
            for each in self.sections.guarded(self.name, self._resolved, share) or ():
                known = found.setdefault(each.part, each)
                if known.network != each.network:
                    self.sections.guarded(self.name, self._twice, each, known)
        yield from found.values()

    def _twice(self, share: Share, known: Share) -> None:
        refuse(
            "GG530",
            f"part '{share.part}' is shared with two networks",
            share.span,
            found=f"it is the part of '{known.network}' already",
            expected="each part once",
        )

    def _resolved(self, share: Share) -> list[Share]:
        """The parts that one share stands for, at their first owner. Raises SpecError."""
        if share.network == self.name:
            refuse(
                "GG533",
                f"'{self.name}' would share a part with itself",
                share.span,
                found=f"{self.name}.{share.part}",
                expected=f"a part of another network; all uses of a part in '{self.name}' share its layers",
            )
        other = self._other(share)
        members = members_of(other, share.part)
        if not members:
            self._no_part(share, share.network, other)
        resolved = []
        for part in with_inner(other, members):
            if part not in self.network.parts:
                self._no_part(replace(share, part=part), self.name, self.network)
            self._compare(other, share, part)
            resolved.append(Share(part=part, network=self._owner(share.network, part, share.span), span=share.span))
        return resolved

    def _other(self, share: Share) -> NetworkSpec:
        made = self.networks.get(share.network)
        if isinstance(made, NetworkSpec) and made.weights is None:
            return made
        if share.network in self.sections.broken:
            give_up()
        every = {name: other for name, other in self.networks.items() if isinstance(other, NetworkSpec)}
        others = {name: other for name, other in every.items() if other.weights is None}
        kind = "an average: it has copies" if isinstance(made, AverageSpec) else "from elsewhere: it keeps its parts"
        known = [name for name, other in others.items() if name != self.name and members_of(other, share.part)]
        return refuse(
            "GG531",
            f"there is no network '{share.network}' to share a part with"
            if made is None
            else f"'{share.network}' is {kind}, and no layers to share",
            share.span,
            found=f"{share.network}.{share.part}",
            expected="one of " + ", ".join(f"{name}.{share.part}" for name in known) if known else "another network",
            fix=nearest(share.network, known),
        )

    def _no_part(self, share: Share, name: str, network: NetworkSpec) -> None:
        known = [*network.parts, *dict.fromkeys(family_of(part) for part in network.parts if family_of(part) != part)]
        refuse(
            "GG532",
            f"'{name}' has no part '{share.part}'",
            share.span,
            found=share.part,
            expected="one of " + ", ".join(known) if known else "parts:, or layers:",
            fix=nearest(share.part, known),
        )

    def _compare(self, other: NetworkSpec, share: Share, part: str) -> None:
        """Both networks describe the same layers under the part's name."""
        ours, theirs = self.network.parts[part], other.parts[part]
        if ours == theirs:
            return
        differ = (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b)
        place = next(differ, min(len(ours), len(theirs)))
        refuse(
            "GG534",
            f"part '{part}' of '{self.name}' is not the same as in '{share.network}'",
            share.span,
            found=f"item {place + 1} is {_item(ours, place)} in '{self.name}', and {_item(theirs, place)}"
            f" in '{share.network}'",
            expected="the same layers, with the same numbers in them",
        )

    def _owner(self, network: str, part: str, span: Span) -> str:
        """The network that owns a part: if the named network shares it itself, the owner is that of the other."""
        passed = [self.name]
        while True:
            passed.append(network)
            made = self.networks.get(network)
            shares = made.shares if isinstance(made, NetworkSpec) else ()
            step = next((share for share in shares if _covers(self.networks, share, part)), None)
            if step is None:
                return network
            network = step.network
            if network in passed and network != self.name:
                give_up()  # the networks in the circle report it
            if network in passed:
                refuse(
                    "GG533",
                    f"part '{part}' is shared in a circle",
                    span,
                    found=" -> ".join(f"{name}.{part}" for name in (*passed, network)),
                    expected="one network that has the part to itself",
                )


def _covers(networks: Networks, share: Share, part: str) -> bool:
    """Whether a share, as it is written, stands for this part among others."""
    other = networks.get(share.network)
    return isinstance(other, NetworkSpec) and part in with_inner(other, members_of(other, share.part))


def members_of(network: NetworkSpec, part: str) -> list[str]:
    """The part, or all members of the family of that name."""
    return [part] if part in network.parts else [name for name in network.parts if family_of(name) == part]


def with_inner(network: NetworkSpec, parts: Iterable[str]) -> list[str]:
    """Parts, and those that their chains consist of."""
    found, waiting = dict[str, None](), list(parts)
    while waiting:
        part = waiting.pop(0)
        if part not in found:
            found[part] = None
            items = (item.function if isinstance(item, ast.Call) else item for item in network.parts[part])
            waiting += [item.id for item in items if isinstance(item, ast.Name) and item.id in network.parts]
    return list(found)


def family_of(part: str) -> str:
    """The name of the family that a part is a member of, or its own."""
    return part.partition("[")[0]


def _item(chain: tuple[Expression, ...], place: int) -> str:
    return ast.unparse(chain[place]) if place < len(chain) else "nothing"
