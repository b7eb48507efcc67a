"""Parts with tied parameters, once layers are known: which network owns them, and whether they fit the others."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from gangraph.check.instantiate import NetworkModel
from gangraph.errors import Problem
from gangraph.graph.code_names import module_name
from gangraph.language.spec import NetworkSpec
from gangraph.language.tied import Networks


@dataclass(frozen=True, slots=True, kw_only=True)
class TiedPart:
    """A part of a network whose layers another network owns; `path` is where they stand in both."""

    part: str
    path: str
    owner: str
    parameters: int


def tied_parts(networks: Networks, models: Mapping[str, NetworkModel]) -> dict[str, tuple[TiedPart, ...]]:
    """The parts that are tied to those of an owner. Where a run lacks the first owner, the next network owns it."""
    owners: dict[tuple[str, str], str] = {}
    found = {}
    for name, network in networks.items():
        if not isinstance(network, NetworkSpec) or name not in models:
            continue
        tied = []
        for share in network.shares:
            path = module_name(share.part)
            mine = _part(models[name], path)
            if mine is None:
                continue
            first = share.network in models and _part(models[share.network], path) is not None
            owner = owners.setdefault((share.network, share.part), share.network if first else name)
            if owner != name:
                tied.append(
                    TiedPart(
                        part=share.part, path=path, owner=owner, parameters=sum(p.numel() for p in mine.parameters())
                    )
                )
        if tied:
            found[name] = tuple(tied)
    return found


def misfits(
    networks: Networks, models: Mapping[str, NetworkModel], tied: Mapping[str, tuple[TiedPart, ...]]
) -> Iterator[Problem]:
    """Parts whose layers have other sizes than those of their owner, because their input has other sizes."""
    for name, tie in ((name, tie) for name, each in tied.items() for tie in each):
        network = networks[name]
        mine, theirs = (_part(models[each], tie.path) for each in (name, tie.owner))
        if mine is None or theirs is None or not isinstance(network, NetworkSpec):
            continue
        ours, other = mine.state_dict(), theirs.state_dict()
        apart = next((key for key in ours if key not in other or ours[key].shape != other[key].shape), None)
        if apart is not None:
            shapes = [str(list(tensors[apart].shape)) if apart in tensors else "nothing" for tensors in (ours, other)]
            yield Problem(
                code="GG535",
                message=f"part '{tie.part}' has other sizes in '{name}' than in '{tie.owner}'",
                span=next(share.span for share in network.shares if share.part == tie.part),
                found=f"{tie.path}.{apart} is {shapes[0]} in '{name}', and {shapes[1]} in '{tie.owner}'",
                expected="an input of the same channels or features, which the sizes of layers follow from",
            )


def _part(model: NetworkModel, path: str) -> nn.Module | None:
    """The layers of a part; None where the network needs none of them."""
    return dict(model.module.named_children()).get(path)
