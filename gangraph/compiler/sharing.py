"""Shared parts once layers are known: which network stores them, and whether they fit the others."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from gangraph.compiler.assemble import NetworkModel
from gangraph.compiler.build_network import module_name
from gangraph.errors import Problem
from gangraph.language.sharing import Networks
from gangraph.language.spec import NetworkSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Loan:
    """A part of a network whose layers another network owns; `path` is where they stand in both."""

    part: str
    path: str
    owner: str
    parameters: int


def loans(networks: Networks, models: Mapping[str, NetworkModel]) -> dict[str, tuple[Loan, ...]]:
    """The parts that networks borrow. Where a run lacks the first owner, the next network owns it."""
    owners: dict[tuple[str, str], str] = {}
    found = {}
    for name, network in networks.items():
        if not isinstance(network, NetworkSpec) or name not in models:
            continue
        borrowed = []
        for share in network.shares:
            path = module_name(share.part)
            mine = _part(models[name], path)
            if mine is None:
                continue
            first = share.network in models and _part(models[share.network], path) is not None
            owner = owners.setdefault((share.network, share.part), share.network if first else name)
            if owner != name:
                borrowed.append(
                    Loan(part=share.part, path=path, owner=owner, parameters=sum(p.numel() for p in mine.parameters()))
                )
        if borrowed:
            found[name] = tuple(borrowed)
    return found


def misfits(
    networks: Networks, models: Mapping[str, NetworkModel], borrowed: Mapping[str, tuple[Loan, ...]]
) -> Iterator[Problem]:
    """Parts whose layers have other sizes than those that they should be, since another input reaches them."""
    for name, loan in ((name, loan) for name, each in borrowed.items() for loan in each):
        network = networks[name]
        mine, theirs = (_part(models[each], loan.path) for each in (name, loan.owner))
        if mine is None or theirs is None or not isinstance(network, NetworkSpec):
            continue
        ours, other = mine.state_dict(), theirs.state_dict()
        apart = next((key for key in ours if key not in other or ours[key].shape != other[key].shape), None)
        if apart is not None:
            shapes = [str(list(tensors[apart].shape)) if apart in tensors else "nothing" for tensors in (ours, other)]
            yield Problem(
                code="GG535",
                message=f"part '{loan.part}' has other sizes in '{name}' than in '{loan.owner}'",
                span=next(share.span for share in network.shares if share.part == loan.part),
                found=f"{loan.path}.{apart} is {shapes[0]} in '{name}', and {shapes[1]} in '{loan.owner}'",
                expected="an input of the same channels or features, which the sizes of layers follow from",
            )


def _part(model: NetworkModel, path: str) -> nn.Module | None:
    """The layers of a part; None where it has none that the network needs."""
    return dict(model.module.named_children()).get(path)
