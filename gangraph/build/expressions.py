"""From expressions to nodes: what the training graph and the graphs of networks have in common.

Structurally equal expressions become one node, so a value that is written twice is computed once.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gangraph.build.arguments import check_arguments
from gangraph.errors import Problem, Span, SpecError, give_up, nearest, refuse
from gangraph.graph.arguments import distinct
from gangraph.graph.kinds import SIGNS
from gangraph.graph.model import Argument, Node, Ref
from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import constant, is_constant, literal
from gangraph.language.expression.gates import outside
from gangraph.language.expression.model import Expression, dotted
from gangraph.language.expression.size import depths
from gangraph.language.expression.static import Scope
from gangraph.registry import Definition, vocabulary

OPERATORS = {sign: name for name, sign in SIGNS.items() if name != "neg"}


_LEVELS = 150  # of calls and values in each other that a spec may have
SHALLOW = 30  # levels that are followed as they are met, whatever stands around them


def definition_order(written: Mapping[str, Expression]) -> Iterable[str]:
    """The names of values as they are written; where that is deep, each after those that it depends on."""
    found = depths(written)
    return found if max(found.values(), default=0) > SHALLOW else written


def too_deep(
    written: Mapping[str, Expression], levels: Mapping[str, int], spans: Mapping[str, Span]
) -> Iterator[tuple[str, Problem | None]]:
    """The values that depend on each other too many levels deep, each with a problem where such a chain begins."""
    told = set[str]()
    for name in (name for name in levels if levels[name] > _LEVELS):
        begins = told.isdisjoint(node.id for node in ast.walk(written[name]) if isinstance(node, ast.Name))
        told.add(name)
        found = f"{name}, {levels[name]} levels deep with what it depends on"
        yield name, bottomless(spans.get(name, written[name].span), found) if begins else None


def bottomless(span: Span, found: str = "") -> Problem:
    """Values depend on each other too many levels deep, or in a circle that is too long to be told."""
    return Problem(
        code="GG415",
        message="the values depend on each other too many levels deep",
        span=span,
        found=found,
        expected=f"at most {_LEVELS} levels of calls and values in each other, and no circle",
    )


def circle(followed: Sequence[str], again: str) -> str:
    """How what is followed leads back to a name in it, in short where that is long."""
    names = [*followed[followed.index(again) :], again]
    return " -> ".join([*names[:4], "...", *names[-3:]] if len(names) > 8 else names)


LARGEST_GRAPH = 10_000  # values
LARGEST_NETWORK = 2_000  # layers and ops


def _too_many(largest: int, span: Span) -> Problem:
    return Problem(
        code="GG415",
        message="this is too large to be checked",
        span=span,
        found=f"more than {largest:,} layers, ops and calls",
        expected="a smaller range or fewer repetitions",
    )


@dataclass
class NodeTable:
    """Nodes in topological order, each structure once."""

    largest: int = LARGEST_GRAPH
    nodes: dict[str, Node] = field(default_factory=dict)
    full: bool = False
    _known: dict[object, str] = field(default_factory=dict)
    _counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(lambda: 1))

    def add(self, kind: str, name: str, *, span: Span, unique: object = None, **parts: Any) -> Ref:
        """The node of this structure, made under a fresh name like `name` if it is new."""
        told = ("target", "field", "expression", "origin", "ahead")
        given = (distinct(parts.get(part, ())) for part in ("arguments", "keywords"))
        key = (kind, unique, *given, *(parts.get(part) for part in told))
        if key not in self._known:
            if len(self.nodes) >= self.largest:
                first, self.full = not self.full, True
                raise SpecError([_too_many(self.largest, span)] if first else [])
            fresh = self._fresh(name)
            self.nodes[fresh] = Node(id=fresh, kind=kind, span=span, **parts)
            self._known[key] = fresh
        return Ref(self._known[key])

    def _fresh(self, name: str) -> str:
        fresh = name
        while fresh in self.nodes:
            self._counts[name] += 1
            fresh = f"{name}_{self._counts[name]}"
        return fresh


class ExpressionBuilder:
    """Visits an expression and adds its nodes. Subclasses say what names and calls mean."""

    def __init__(self, table: NodeTable) -> None:
        self.table = table
        self.hint: str | None = None

    def name(self, node: ast.Name) -> Argument:
        """The meaning of a name."""
        raise NotImplementedError

    def call(self, name: str, node: ast.Call) -> Argument | None:
        """The meaning of a call by name, or None if only the vocabulary knows it."""
        raise NotImplementedError

    def known_names(self) -> Iterable[str]:
        """Names for suggestions."""
        raise NotImplementedError

    def callables(self) -> Iterable[str]:
        """Names that can be called, beside the vocabulary's."""
        raise NotImplementedError

    def visit(self, node: Expression, hint: str | None = None) -> Argument:
        """The argument that an expression stands for; `hint` names the node of its outermost operation.

        Raises:
            SpecError: a name is unknown, or a call does not fit its signature.
        """
        self.hint = hint
        match node:
            case ast.Broken():
                give_up()
            case ast.Literal() | ast.Sequence() if is_constant(node):
                return constant(node)  # type: ignore[return-value]  # an Argument, of a constant
            case ast.Sequence(items=items):
                return tuple(self.visit(item) for item in items)
            case ast.Name():
                return self.name(node)
            case ast.Call():
                return self._call(node)
            case ast.Attribute(base=base, name=name):
                return self.attribute(node, base, name)
            case ast.Unary(operator="-", operand=operand):
                name = self.take_hint("neg")
                return self.operate("neg", node, (self.visit(operand),), name)
            case ast.Unary(operator="+", operand=operand):
                return self.visit(operand, hint)
            case ast.Binary(operator="+" | "-"):
                return self._sum(node)
            case ast.Binary(operator=operator, left=left, right=right) if operator in OPERATORS:
                target = OPERATORS[operator]
                name = self.take_hint(target)
                return self.operate(target, node, (self.visit(left), self.visit(right)), name)
        joined = isinstance(node, ast.Binary | ast.Unary) and node.operator in ("and", "or", "not")
        fix = "comparisons are 1 and 0: a * b for and, a + b - a * b for or, 1 - a for not" if joined else ""
        return refuse(
            "GG308",
            "this has no meaning for tensors",
            node.span,
            ast.unparse(node),
            "arithmetic, comparisons, calls and names",
            fix,
        )

    def take_hint(self, default: str) -> str:
        """What the node of the outermost operation is called: by the hint if there is one, which is used up."""
        hint, self.hint = self.hint, None
        return hint or default

    def _sum(self, node: ast.Binary) -> Argument:
        """A sum from left to right, the terms that are one number over time together."""
        whole = self.take_hint(OPERATORS[node.operator])
        first, sums = ast.summands(node)
        together = max(self.dynamic_start(ast.parts(node)), 1)
        made = self.visit((first, *sums)[together - 1])
        for each in sums[together - 1 :]:
            target = OPERATORS[each.operator]
            operands = made, self.visit(each.right)
            made = self.operate(target, each, operands, whole if each is node else target)
        return made

    def dynamic_start(self, terms: Iterable[Expression]) -> int:
        """How many terms of a sum, from the first on, are together one number over time."""
        return 0

    def operate(self, target: str, node: ast.Unary | ast.Binary, operands: tuple[Argument, ...], name: str) -> Argument:
        """Arithmetic between what its operands stand for."""
        if are_numbers(operands):
            return self.number(node, operands)
        return self.table.add("op", name, span=node.span, target=target, arguments=operands)

    def number(self, node: ast.Unary | ast.Binary, numbers: tuple[Argument, ...]) -> Argument:
        """Arithmetic between numbers, which values may stand for too. Raises SpecError."""
        names = ("operand",) if isinstance(node, ast.Unary) else ("left", "right")
        operands: dict[str, Any] = {
            name: literal(number, node.span) for name, number in zip(names, numbers, strict=True)
        }
        return constant(Scope().reduce(replace(node, **operands)))  # type: ignore[return-value]  # a number

    def attribute(self, node: ast.Attribute, base: Expression, name: str) -> Argument:
        """The meaning of what follows a dot."""
        raise NotImplementedError

    def _call(self, node: ast.Call) -> Argument:
        name = dotted(node.function)
        if not name:
            return self.curried(node)
        meaning = self.call(name, node)
        if meaning is not None:
            return meaning
        definition = vocabulary.get(name)
        if definition is None and (problem := outside(node)):
            raise SpecError([problem])
        if definition is None:
            given = ast.unparse(node).removeprefix(ast.unparse(node.function))
            near = nearest(name, [*self.callables(), *vocabulary.of_kind("op", "loss")], given)
            expected = f"an op, a loss, or one of {', '.join(self.callables())}"
            refuse("GG310", f"there is nothing called '{name}' to call", node.function.span, name, expected, near)
        return self.operation(definition, node)

    def curried(self, node: ast.Call) -> Argument:
        """A call of the result of a call."""
        refuse("GG308", "only names can be called here", node.span, ast.unparse(node))

    def operation(self, definition: Definition, node: ast.Call, first: tuple[Argument, ...] = ()) -> Argument:
        """A call of an op, a loss or a metric, with `first` before its written arguments."""
        if definition.kind not in ("op", "loss", "metric"):
            where = "in a network's layers" if definition.kind == "layer" else "under data:"
            refuse(
                "GG311",
                f"'{definition.name}' is a {definition.kind}, which stands {where}",
                node.function.span,
                definition.name,
                "an op, a loss or a network",
            )
        name = self.take_hint(definition.name.rpartition(".")[2])
        arguments = (*first, *(self.visit(argument) for argument in node.arguments))
        keywords = tuple((key, self.visit(value)) for key, value in node.keywords)
        check_arguments(
            definition.name, definition.signature, arguments, keywords, node, len(first), definition.traits.ordered
        )
        return self.table.add(
            "op", name, span=node.span, target=definition.name, arguments=arguments, keywords=keywords
        )


def are_numbers(arguments: Iterable[Argument]) -> bool:
    """Whether nothing among the arguments is computed when the program runs."""
    return all(isinstance(argument, int | float) and not isinstance(argument, bool) for argument in arguments)
