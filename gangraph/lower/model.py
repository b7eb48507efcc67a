"""What lowering gives: segments as code, and the program that they make up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import fx, nn

from gangraph.graph.code_names import value_name
from gangraph.lower.forms import NetworkForm
from gangraph.lower.fusing import Fusion, Kernels
from gangraph.plan.model import Plan, Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelUse:
    """Where in a segment a kernel is used, or why not: at a value, or inside of a call of a network.

    `under` are the gradients that differentiate through it once more.
    """

    value: str
    fusion: Fusion
    under: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """A segment as code: `reads` and `writes` are the names of values, `networks` the forms that it calls, by name.

    The code of one step of a lookahead takes the looked-ahead networks before what it reads. `values` are the values
    of the graph by the names of the nodes that compute them. `compilable` is why it is not compiled, if it is not.
    """

    segment: Segment
    graph: fx.Graph
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    networks: Mapping[str, NetworkForm]
    compilable: str = ""
    kernels: tuple[KernelUse, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def called(self) -> tuple[str, ...]:
        """All that the code calls by name: networks, and steps that it looks ahead."""
        return (*self.networks, *(ahead.called for ahead in self.segment.lookaheads))

    def bind(self, called: Mapping[str, nn.Module]) -> fx.GraphModule:
        """The segment as a module over what it calls."""
        modules = {name: called[name] for name in self.called}
        return fx.GraphModule(modules, self.graph, class_name=value_name(self.segment.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPart:
    """A part of an evaluation: `code` runs batch by batch, the ops `whole` once over all that it gave."""

    code: Lowered
    whole: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A plan with its segments as code.

    `evaluation` is what an evaluation during training computes, `measurement` what is computed over many samples,
    `pictures` what each grid and sampler draws, `starts` what variables begin as.
    """

    plan: Plan
    segments: Mapping[str, Lowered]
    evaluation: EvaluationPart | None
    measurement: EvaluationPart | None
    pictures: Mapping[str, EvaluationPart]
    kernels: Kernels
    starts: Lowered | None = None

    @property
    def forms(self) -> Mapping[str, NetworkForm]:
        """The forms of networks that the code of its updates calls, by name."""
        every = (*self.segments.values(), *([self.starts] if self.starts is not None else []))
        return {name: form for code in every for name, form in code.networks.items()}
