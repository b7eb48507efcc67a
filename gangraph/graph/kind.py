"""The record of a kind of node, and what it asks of stages.

Each stage asks the record of a node's kind what to do with the node, and hands itself over as the context: the record
says what it needs of a stage by a protocol, so that a kind of node is written in one place and this package imports no
stage. `kinds` holds the records; those of the engine are in `gangraph.graph.kinds`, and a plug-in adds its own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

from gangraph.errors import Problem, Span
from gangraph.graph.arguments import Argument, Ref
from gangraph.graph.node import KindFacts, Node, records
from gangraph.graph.types import TensorType
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.place import Place
from gangraph.registry import plugin_problem, vocabulary

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
class NodeKind(KindFacts):
    """All that the stages know of one kind of node: what holds of its nodes, and what a stage does with one.

    Attributes:
        stops: whether no gradient passes through a node.
        infer: finds the node's type; None where it has a problem, or no type of its own.
        write: writes the node as code.
        form: how a spec spells it, if that is a call by the kind's name.
        spelled: the expression that a spec would write for a node, from those of its arguments.
    """

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
        self._records = records

    def __getitem__(self, name: str) -> NodeKind:
        record = self._records[name]
        assert isinstance(record, NodeKind)
        return record

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def of(self, node: Node) -> NodeKind:
        """The record of a node's kind."""
        return self[node.kind]

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
        return {name: kind for name, kind in sorted(self.items()) if kind.form is not None}


kinds = Kinds()
