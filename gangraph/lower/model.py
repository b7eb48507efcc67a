"""The result of lowering: segments as code, and the program that they make up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import fx, nn

from gangraph.graph.code_names import value_name
from gangraph.lower.forms import NetworkForm
from gangraph.lower.fusing import Fusion, Kernels
from gangraph.plan.model import Plan, Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelUse:
    """A kernel that is used in a segment, or that is not, with the reason in `fusion`.

    `value` is what it computes, or the call of a network that it is used in. `under` are the gradients in an objective
    that differentiate through it once more.
    """

    value: str
    fusion: Fusion
    under: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """A segment as code: `reads` and `writes` are the names of values, `networks` the forms that it calls, by name.

    The code of one step of a lookahead takes the looked-ahead networks as its first argument, before what it reads.
    `values` gives the value of the spec's graph that each fx node computes, by name. `uncompiled` is the reason why the
    segment cannot be compiled; empty if it can.
    """

    segment: Segment
    graph: fx.Graph
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    networks: Mapping[str, NetworkForm]
    uncompiled: str = ""
    kernels: tuple[KernelUse, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def called(self) -> tuple[str, ...]:
        """The names of all modules that the code calls: forms of networks, and steps of lookaheads."""
        return (*self.networks, *(ahead.called for ahead in self.segment.lookaheads))

    def bind(self, called: Mapping[str, nn.Module]) -> fx.GraphModule:
        """The segment as a module, with the modules that it calls given by name."""
        modules = {name: called[name] for name in self.called}
        return fx.GraphModule(modules, self.graph, class_name=value_name(self.segment.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPart:
    """A part of an evaluation: `code` runs batch by batch; then the ops in `whole` run once, over all samples."""

    code: Lowered
    whole: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A plan with its segments as code.

    `evaluation` computes the metrics of an evaluation during training, `measurement` the results over many samples,
    `pictures` the columns of each grid and sampler, by name, and `starts` the first values of variables.
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
        """The forms of networks that the code of the step and of the starts calls, by name."""
        every = (*self.segments.values(), *([self.starts] if self.starts is not None else []))
        return {name: form for code in every for name, form in code.networks.items()}
