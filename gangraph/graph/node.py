"""A node of a graph, and the facts that hold of all nodes of its kind."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from gangraph.errors import Span
from gangraph.graph.arguments import Argument, references
from gangraph.language.expression.model import Expression
from gangraph.language.place import Place

Target = Literal["", "source", "network", "op", "group", "buffer", "path", "state"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFacts:
    """What holds of every node of one kind, whatever stage looks at it.

    Attributes:
        name: what `Node.kind` is.
        arguments: the type of each argument, `Ref` for a value; None where they depend on the target.
        keywords: the names that arguments may have beside; where `arguments` is None any.
        target: what the node's `target` names.
        given: whether a segment is given the value rather than computes it.
        source: whether it is a batch that is drawn at the beginning of a step, or when an update draws anew.
        unwritten: whether a spec does not write it, and views leave it out where they write what reads it.
        of_network: whether a network is what it comes from, so that it changes with the network's parameters.
        remembers: how long it remembers an earlier value: `step` for the one first computed in a step, `run` for those
            of earlier steps. These are kept in a buffer, which is part of a run's state: the arguments are the value
            and the size of the buffer, and the engine mixes the value with it as `gangraph.run.history` says.
        same: whether it is the value of its first argument, or one like it from before: of the same type and range.
        like: the place of the argument whose shape it has, if its shape is always an argument's. A value without such
            an argument has the batch if it begins with the same axis as an argument that has it, and its target is no
            network, whose parameters it would be about.
        whole: whether an evaluation may compute it once over all samples, where no network or gradient needs it; a kind
            that is no op has to be the `same` then.
        in_networks: whether it stands in networks alone, and not in the step.
        accent: what LaTeX writes over its first argument: a bar where the gradient is stopped, a tilde over what is
            mixed with its past. Formulas in plain text leave out what is a bar, and write the first argument alone of
            what is a tilde.
    """

    name: str
    arguments: tuple[type, ...] | None = ()
    keywords: tuple[str, ...] = ()
    target: Target = ""
    given: bool = False
    source: bool = False
    unwritten: bool = False
    of_network: bool = False
    remembers: Literal["", "step", "run"] = ""
    same: bool = False
    like: int | None = None
    whole: bool = False
    in_networks: bool = False
    accent: Literal["", "overline", "widetilde"] = ""


records: dict[str, KindFacts] = {}  # by name; `gangraph.graph.kind.kinds` adds to them


@dataclass(frozen=True, kw_only=True)
class Node:
    """One value: what computes it, and from what.

    A value that depends on looked-ahead networks stands beside the one that the spec writes, its `origin`; a call of
    such a network names the node that looks `ahead`. What is computed `anew` names what it repeats.
    """

    id: str
    kind: str
    target: str = ""
    field: str = ""
    arguments: tuple[Argument, ...] = ()
    keywords: tuple[tuple[str, Argument], ...] = ()
    expression: Expression | None = None
    origin: str = ""
    ahead: str = ""
    anew: str = ""
    span: Span

    @property
    def facts(self) -> KindFacts:
        """What holds of all nodes of its kind."""
        return records[self.kind]

    @property
    def is_source(self) -> bool:
        """Whether it is a batch of data or of random numbers."""
        return self.facts.source

    @property
    def is_given(self) -> bool:
        """Whether a segment is given its value rather than computes it: draws, numbers over time, states."""
        return self.facts.given

    @property
    def is_state(self) -> bool:
        """Whether it is what the steps before left under the name of a state, its `target`."""
        return self.facts.target == "state"

    @property
    def is_unwritten(self) -> bool:
        """Whether a spec does not write it: what a network draws where it is called."""
        return self.facts.unwritten

    @property
    def is_call(self) -> bool:
        """Whether it is a call of a network."""
        return self.kind == "network"

    @property
    def is_operation(self) -> bool:
        """Whether it is a call of an op, a loss or a metric."""
        return self.facts.target == "op"

    @property
    def of_network(self) -> bool:
        """Whether it depends on a network directly: a call, its parameters, or an image that is drawn from it."""
        return self.facts.of_network

    @property
    def of_parameters(self) -> bool:
        """Whether it depends on a network otherwise than by a call, as its parameters do; then it has no batch."""
        return self.of_network and not self.is_call and not self.inputs

    @property
    def place(self) -> Place:
        """The place of the parameters that it gives, or that it is a gradient with respect to."""
        return Place(self.target, self.field, self.span)

    @property
    def by_parameters(self) -> bool:
        """Whether it is a gradient with respect to parameters, not to a value."""
        return self.kind == "parameter_grad"

    @property
    def is_gradient(self) -> bool:
        """Whether it is a gradient, of its first input."""
        return self.kind == "grad" or self.by_parameters

    @property
    def is_same(self) -> bool:
        """Whether it has the value of its first input, now or at an earlier time."""
        return self.facts.same

    @property
    def remembers(self) -> Literal["", "step", "run"]:
        """How long it remembers an earlier value: for a `step`, for a `run`, or not at all."""
        return self.facts.remembers

    @property
    def over_time(self) -> Expression:
        """What a number over time is computed from."""
        assert self.expression is not None
        return self.expression

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The nodes this one is computed from, in order."""
        return tuple(references((*self.arguments, *(value for _, value in self.keywords))))

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The inputs, and the node that looks ahead where this is a call of a looked-ahead network."""
        return (*self.inputs, self.ahead) if self.ahead else self.inputs
