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
    """Another graph over the modules of a network than the one that the spec's layers make, such as one with kernels.

    `label` tells it from other bodies of the same network; `fusions` are the kernels that stand in it.
    """

    label: str
    graph: fx.Graph
    fusions: tuple[Fusion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Some parameters of a network: the `place` that a spec calls them by, and their `names` in the network.

    `transposed` is for a weight as a matrix: its layer stores it with the inputs on the first axis, the outputs on the
    second, as transposed convolutions do.
    """

    place: str
    names: tuple[str, ...]
    transposed: bool = False

    @property
    def label(self) -> str:
        """The end of the name of a form that is asked for them; empty for all parameters."""
        return f"_{'__'.join(map(module_name, self.place.split('.')))}" if self.place else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkForm:
    """A form in which code calls a network, or the average of one.

    `mode` is what a call gives: outputs, parameters, a gradient. If the form is `frozen`, its parameters carry no
    gradient. `body` is the graph that it runs; None for the layers as the spec writes them. `chosen` are the parameters
    that a call gives or differentiates by; None where it gives outputs.
    """

    network: str
    frozen: bool = False
    body: Body | None = None
    mode: Mode = Mode.OUTPUT
    chosen: Chosen | None = None

    @property
    def name(self) -> str:
        """The name by which code calls it, made of all its fields: `D_frozen_fused`."""
        frozen, body = FROZEN if self.frozen else "", f"_{self.body.label}" if self.body is not None else ""
        chosen = self.chosen.label if self.chosen is not None else ""
        return f"{module_name(self.network)}{frozen}{body}{self.mode.value}{chosen}"

    @property
    def plain(self) -> "NetworkForm":
        """The form with the same parameters that gives outputs, by the layers as the spec writes them."""
        return NetworkForm(network=self.network, frozen=self.frozen)

    def asked(self, mode: Mode) -> "NetworkForm":
        """The form that differs only in what a call gives."""
        return replace(self, mode=mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The networks that code calls, and the graphs with kernels that are made of them.

    No kernel is placed in the networks in `bare`. Those in `evaluated` have other outputs in the evaluation than in
    training.
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
        """A network's graph with kernels for calls that are differentiated `times` times, and what was found in it.

        Each graph is made once.
        """
        if owner in self.bare:
            return self.models[owner].module.graph, ()
        if (owner, times) not in self._fused:
            self._fused[owner, times] = fuse_network(self.models[owner], times=times, kernels=self.kernels)
        return self._fused[owner, times]

    def body(self, owner: str, times: int) -> Body | None:
        """The graph that calls differentiated `times` times run; None where they run the spec's own layers."""
        if owner in self.evaluated:
            return Body(label=EVALUATED, graph=self.models[owner].module.graph)
        if self.kernels == "off":
            return None
        graph, fusions = self.fused(owner, times)
        placed = tuple(fusion for fusion in fusions if not fusion.why_not)
        label = FUSED if times == 1 else f"{FUSED}_{times}"
        return Body(label=label, graph=graph, fusions=placed) if placed else None
