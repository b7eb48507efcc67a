"""The forms in which code calls networks, as values.

Nothing toggles `requires_grad`: a network has forms that share their storage, `D` whose parameters carry gradients,
`D_frozen` whose parameters do not, and `D_fused` or `D_frozen_fused` with kernels inside; each call names the one it
means. A name is made from its form, and is never read back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import fx

from gangraph.check.instantiate import NetworkModel
from gangraph.graph.code_names import EVALUATED, FROZEN, FUSED, Mode, module_name
from gangraph.lower.fusing import Fusion, Kernels, fuse_network


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The layers of a network in another way than the spec writes them: as a graph that names its modules.

    `label` tells it from other bodies of the network; `fusions` are the kernels in it.
    """

    label: str
    graph: fx.Graph
    fusions: tuple[Fusion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Some parameters of a network: the `place` that a spec calls them by, and their `names` in the network.

    `transposed` says of a matrix that its layer stores the inputs of a unit first.
    """

    place: str
    names: tuple[str, ...]
    transposed: bool = False

    @property
    def label(self) -> str:
        """What code calls them: nothing for all parameters."""
        return f"_{'__'.join(map(module_name, self.place.split('.')))}" if self.place else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkForm:
    """One form of a network or average of the spec: what code asks of it, and how it computes that.

    `frozen` says that its parameters carry no gradient. Without a `body` its layers are those that the spec writes.
    `chosen` are the parameters that it is asked for, if it is.
    """

    network: str
    frozen: bool = False
    body: Body | None = None
    mode: Mode = Mode.OUTPUT
    chosen: Chosen | None = None

    @property
    def name(self) -> str:
        """What code calls it."""
        frozen, body = FROZEN if self.frozen else "", f"_{self.body.label}" if self.body is not None else ""
        chosen = self.chosen.label if self.chosen is not None else ""
        return f"{module_name(self.network)}{frozen}{body}{self.mode.value}{chosen}"

    @property
    def plain(self) -> "NetworkForm":
        """The form whose parameters it has: it gives outputs, by the layers that the spec writes."""
        return NetworkForm(network=self.network, frozen=self.frozen)

    def asked(self, mode: Mode) -> "NetworkForm":
        """The same form, asked for something else."""
        return replace(self, mode=mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The networks that code calls, and the bodies that they have: with kernels, where these may be placed.

    The networks in `bare` have no kernels; those in `evaluated` have other outputs in the evaluation than in training.
    """

    models: Mapping[str, NetworkModel]
    kernels: Kernels
    bare: frozenset[str]
    evaluated: frozenset[str] = frozenset()
    _fused: dict[tuple[str, int], tuple[fx.Graph, tuple[Fusion, ...]]] = field(default_factory=dict, repr=False)

    def of_evaluation(self, evaluated: Mapping[str, NetworkModel]) -> "Models":
        """The networks as the evaluation calls them."""
        own = frozenset(evaluated)
        return replace(self, models={**self.models, **evaluated}, bare=self.bare | own, evaluated=own)

    def fused(self, owner: str, times: int) -> tuple[fx.Graph, tuple[Fusion, ...]]:
        """A network's graph with kernels, for calls that are differentiated so many times; each is made once."""
        if owner in self.bare:
            return self.models[owner].module.graph, ()
        if (owner, times) not in self._fused:
            self._fused[owner, times] = fuse_network(self.models[owner], times=times, kernels=self.kernels)
        return self._fused[owner, times]

    def body(self, owner: str, times: int) -> Body | None:
        """The body of such calls: none if no kernel fits and the network gives what the spec's layers give."""
        if owner in self.evaluated:
            return Body(label=EVALUATED, graph=self.models[owner].module.graph)
        if self.kernels == "off":
            return None
        graph, fusions = self.fused(owner, times)
        placed = tuple(fusion for fusion in fusions if not fusion.why_not)
        label = FUSED if times == 1 else f"{FUSED}_{times}"
        return Body(label=label, graph=graph, fusions=placed) if placed else None
