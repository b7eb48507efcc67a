"""A node of a graph, and what the compiler knows of its kind.

Each stage asks the record of a node's kind what to do with the node, and hands itself over as the context: the record
says what it needs of a stage by a protocol, so that a kind of node is written in one place and this package imports no
stage. `kinds` holds the records; those of the engine are in `gangraph.graph.kinds`, and a plug-in adds its own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Literal, Protocol

from gangraph.errors import Problem, Span
from gangraph.graph.types import TensorType
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.place import Place
from gangraph.registry import plugin_problem, vocabulary


@dataclass(frozen=True, slots=True)
class Ref:
    """An argument that is another node's value."""

    id: str


Argument = Ref | int | float | str | bool | None | tuple["Argument", ...]


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
    def record(self) -> "NodeKind":
        """All that the stages know of its kind."""
        return kinds[self.kind]

    @property
    def is_source(self) -> bool:
        """Whether it is a batch of data or of random numbers."""
        return self.record.source

    @property
    def is_given(self) -> bool:
        """Whether a segment is given its value rather than computes it: draws, numbers over time, states."""
        return self.record.given

    @property
    def is_state(self) -> bool:
        """Whether it is what the steps before left under the name of a state, its `target`."""
        return self.record.target == "state"

    @property
    def is_unwritten(self) -> bool:
        """Whether a spec does not write it: what a network draws where it is called."""
        return self.record.unwritten

    @property
    def is_call(self) -> bool:
        """Whether it is a call of a network."""
        return self.kind == "network"

    @property
    def is_operation(self) -> bool:
        """Whether it is a call of an op, a loss or a metric."""
        return self.record.target == "op"

    @property
    def of_network(self) -> bool:
        """Whether it depends on a network directly: a call, its parameters, or an image that is drawn from it."""
        return self.record.of_network

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
        return self.record.same

    @property
    def remembers(self) -> Literal["", "step", "run"]:
        """How long it remembers an earlier value: for a `step`, for a `run`, or not at all."""
        return self.record.remembers

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


def references(arguments: tuple[Argument, ...]) -> Iterator[str]:
    """The nodes that some arguments refer to, in order."""
    for argument in arguments:
        if isinstance(argument, Ref):
            yield argument.id
        elif isinstance(argument, tuple):
            yield from references(argument)


def distinct(argument: object) -> object:
    """An argument as a key. 1, 1.0 and true are equal, and give values of other types: their keys are not."""
    if isinstance(argument, tuple):
        return tuple(map(distinct, argument))
    return type(argument), repr(argument) if isinstance(argument, float) else argument


def with_arguments(argument: Argument, replace: Mapping[str, object]) -> object:
    """An argument with every reference replaced."""
    if isinstance(argument, Ref):
        return replace[argument.id]
    if isinstance(argument, tuple):
        return tuple(with_arguments(item, replace) for item in argument)
    return argument


# ------------------------------------------------------------------------------------------- what kinds ask of stages


class Builder(Protocol):
    """The stage that makes nodes of expressions, as a kind sees it that is spelled as a call."""

    def take_hint(self, default: str) -> str:
        """The name that the node of this call should have: what the spec names, else the default."""

    def arguments_of(self, call: ast.Call, count: int, usage: str) -> list[Argument]:
        """What the arguments of a call stand for. Refuses another number of them, and arguments by name."""

    def values_of(self, call: ast.Call, count: int, usage: str) -> list[Argument]:
        """As `arguments_of`, and refuses constants."""

    def add(self, kind: str, hint: str, call: ast.Call, *arguments: Argument, target: str = "", field: str = "") -> Ref:
        """The node of this structure; the same one where there is one already."""

    @property
    def measures(self) -> bool:
        """Whether these are values of an evaluation, where nothing is trained."""

    def node_of(self, argument: Argument) -> Node | None:
        """The node that an argument refers to; None for a constant."""

    def is_network(self, name: str) -> bool:
        """Whether the spec has a network of this name."""

    def place_of(self, call: ast.Call, usage: str) -> Place:
        """The network, part, layer or parameter that a call names. Refuses what there is not."""

    def autoregressive(self, call: ast.Call) -> Argument:
        """An image that is drawn pixel by pixel."""

    def again(self, call: ast.Call) -> Argument:
        """A value from calls of networks of its own."""


class Inference(Protocol):
    """The stage that finds the types of values; a node's inputs have theirs when it is asked for the node's."""

    @property
    def types(self) -> Mapping[str, TensorType]:
        """The types that are known so far, by node."""

    def report(self, code: str, message: str, node: Node, found: str = "", **more: Any) -> None:
        """Keep a problem of a node."""

    def source(self, node: Node) -> TensorType:
        """The type of a batch of data or of random numbers."""

    def call(self, node: Node) -> TensorType | None:
        """The type of what a network gives; None where it has several outputs, or a problem."""

    def output(self, node: Node) -> TensorType | None:
        """The type of a named output of a call."""

    def operation(self, node: Node) -> TensorType | None:
        """The type of what an op, a loss or a metric gives."""

    def gradient(self, node: Node) -> TensorType | None:
        """The type of a gradient, if the output depends on the input."""

    def parameter_gradient(self, node: Node) -> TensorType | None:
        """The type of a gradient with respect to parameters, if the output depends on them."""

    def parameters(self, node: Node) -> TensorType | None:
        """The type of a vector of parameters of a network."""

    def autoregressive(self, node: Node) -> TensorType | None:
        """The type of an image that is drawn pixel by pixel."""


class Writer(Protocol):
    """The stage that writes a segment as `torch.fx` code; a node's inputs are written before it."""

    def function(self, node: Node, function: Callable[..., Any]) -> None:
        """Write the node as a call of a function with the node's arguments."""

    def method(self, node: Node, name: str) -> None:
        """Write the node as a call of a method of its first input."""

    def network(self, node: Node) -> None:
        """Write a call of a network."""

    def output(self, node: Node) -> None:
        """Write the choice of a named output of a call."""

    def operation(self, node: Node) -> None:
        """Write an op, a loss or a metric; arithmetic becomes an operator."""

    def gradient(self, node: Node) -> None:
        """Write a gradient, which can be differentiated itself where the segment needs that."""

    def parameter_gradient(self, node: Node) -> None:
        """Write a gradient with respect to parameters of a network."""

    def alias(self, node: Node) -> None:
        """Write the same value under a name of its own, with respect to which a gradient can be taken."""

    def parameters(self, node: Node) -> None:
        """Write parameters of a network as a vector."""

    def autoregressive(self, node: Node) -> None:
        """Write the calls that draw an image pixel by pixel."""

    def lookahead(self, node: Node) -> None:
        """Write the steps of an optimizer that are taken and forgotten."""


class NetworkFacts(Protocol):
    """What following gradients needs to know about the networks of a graph."""

    def owner(self, network: str) -> str:
        """The network whose layers a call runs."""


# ------------------------------------------------------------------------------------------------ the record of a kind

Build = Callable[[Builder, "NodeKind", ast.Call], Argument]
Infer = Callable[[Inference, Node], TensorType | None]
Write = Callable[[Writer, Node], None]
Stops = Callable[[NetworkFacts, Node], bool]
Spelled = Callable[[Node, Callable[[Argument], Expression]], Expression]
Target = Literal["", "source", "network", "op", "group", "buffer", "path", "state"]


def always(_: NetworkFacts, __: Node) -> bool:
    """No gradient passes through any node of the kind."""
    return True


def never(_: NetworkFacts, __: Node) -> bool:
    """A gradient passes through every node of the kind."""
    return False


def of_values(builder: Builder, kind: "NodeKind", call: ast.Call) -> Argument:
    """The node of a call whose arguments are values, as many as the kind takes."""
    assert kind.form is not None
    assert kind.arguments is not None
    hint = builder.take_hint(kind.form.hint or kind.name)
    return builder.add(kind.name, hint, call, *builder.values_of(call, len(kind.arguments), kind.form.usage))


def as_call(node: Node, inside: Callable[[Argument], Expression]) -> Expression:
    """`kind(argument, keyword=argument)`."""
    return call_of(node.kind, node, inside)


def call_of(name: str, node: Node, inside: Callable[[Argument], Expression]) -> Expression:
    """A call by some name, with the arguments of a node."""
    keywords = tuple((key, inside(value)) for key, value in node.keywords)
    return ast.Call(dotted_name(name, node.span), tuple(map(inside, node.arguments)), keywords, node.span)


def dotted_name(name: str, span: Span) -> Expression:
    """`a.b.c` as it is parsed: attributes of a name."""
    first, *rest = name.split(".")
    base: Expression = ast.Name(first, span)
    return reduce(lambda base, part: ast.Attribute(base, part, span), rest, base)


@dataclass(frozen=True, slots=True)
class Form:
    """How a spec spells a kind, as a call by the kind's name.

    `usage` is shown in messages about a wrong call; `hint` is the name of nodes that the spec does not name.
    """

    usage: str
    hint: str = ""
    build: Build = of_values


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKind:
    """All that the stages know of one kind of node.

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
        like: the place of the argument whose shape it has, if its shape is always an argument's; the batch of a value
            without such an argument is not followed.
        whole: whether an evaluation may compute it once over all samples, where no network or gradient needs it; a kind
            that is no op has to be the `same` then.
        in_networks: whether it stands in networks alone, and not in the step.
        accent: what LaTeX writes over its first argument: a bar where the gradient is stopped, a tilde over what is
            mixed with its past. Formulas in plain text leave out what is a bar, and write the first argument alone of
            what is a tilde.
        stops: whether no gradient passes through a node.
        infer: finds the node's type; None where it has a problem, or no type of its own.
        write: writes the node as code.
        form: how a spec spells it, if that is a call by the kind's name.
        spelled: the expression that a spec would write for a node, from those of its arguments.
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
    stops: Stops = never
    infer: Infer
    write: Write
    form: Form | None = None
    spelled: Spelled = as_call

    def fault(self, error: BaseException, asked: Callable[..., Any], when: str, span: Span) -> Problem:
        """The problem that a function of a plug-in's kind, `asked`, raised an error.

        Raises:
            BaseException: the error itself, if the kind is gangraph's own or the error is a message already.
        """
        functions = (
            asked,
            self.infer,
            self.write,
            self.stops,
            self.spelled,
            *((self.form.build,) if self.form else ()),
        )
        return plugin_problem(error, f"the kind of node '{self.name}' {{}} fails as {when}", span, *functions)


class Kinds(Mapping[str, NodeKind]):
    """The kinds of nodes by name. A name is taken once; a second record is its author's mistake."""

    def __init__(self) -> None:
        self._records: dict[str, NodeKind] = {}

    def __getitem__(self, name: str) -> NodeKind:
        return self._records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def add(self, kind: NodeKind) -> None:
        """Let graphs have nodes of another kind.

        Raises:
            ValueError: the name is taken, by a word of the vocabulary too where a spec spells the kind by it; or it
                remembers for a run without the arguments of a buffer, or is computed over all samples without being an
                op or the same as its argument.
        """
        if kind.name in self._records:
            raise ValueError(f"there is already a kind of node called '{kind.name}'")
        if kind.remembers == "run" and kind.arguments != (Ref, int):
            raise ValueError(f"'{kind.name}' remembers for a run: its arguments are a value and the size of its buffer")
        if kind.whole and not (kind.same or kind.target == "op"):
            raise ValueError(f"'{kind.name}' is computed over all samples: it has to be the same as its argument")
        if kind.form is not None:
            vocabulary.reserve(kind.name)
        self._records[kind.name] = kind

    @property
    def forms(self) -> dict[str, NodeKind]:
        """The kinds that a spec spells as a call, sorted by name."""
        return {name: kind for name, kind in sorted(self._records.items()) if kind.form is not None}


kinds = Kinds()
