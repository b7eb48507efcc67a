"""Static time: partial evaluation of expressions with everything that is known before a run.

`Scope.reduce` replaces params, `let` names and family indices by their values, folds arithmetic, chooses
conditionals and unrolls comprehensions. What remains speaks only of data, networks, values and dynamic time.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from gangraph.errors import Span, SpecError, give_up, refuse
from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import (
    constant,
    literal,
    member_name,
    members,
)
from gangraph.language.expression.folding import fold_binary, fold_call, fold_range, fold_unary, total_of
from gangraph.language.expression.model import Expression
from gangraph.language.expression.size import size, too_large

LARGEST_TOTAL = 200_000  # parts of all expressions of a phase, or of a network in a file
LARGEST_UNROLLING = 10_000


@dataclass(frozen=True, slots=True)
class Family:
    """Definitions over a static range: `name[variable in domain]: body`; `outer` are the indices before this one."""

    variable: str
    members: tuple[int | str, ...]
    body: Expression
    outer: Mapping[str, Expression] = field(default_factory=dict)


@dataclass
class Scope:
    """Static names: their definitions, evaluated when first needed."""

    definitions: dict[str, Expression] = field(default_factory=dict)
    tables: dict[str, dict[object, Expression]] = field(default_factory=dict)
    families: dict[str, list[Family]] = field(default_factory=dict)
    outer: "Scope | None" = None
    hidden: frozenset[str] = frozenset()  # params that share their name with a value: reached as params.name only
    _values: dict[str, Expression] = field(default_factory=dict)
    _active: list[str] = field(default_factory=list)
    _failed: set[str] = field(default_factory=set)
    unrolled: int = 0
    written: int = 0  # parts of expressions that were reduced so far

    def child(self, **names: Expression) -> "Scope":
        """This scope with a few more names."""
        return Scope(definitions=dict(names), outer=self)

    def hides(self, name: str) -> bool:
        """Whether a bare name means a value although a param has it too."""
        if name in self.hidden:
            return True
        return name not in self.definitions and self.outer is not None and self.outer.hides(name)

    def names(self) -> set[str]:
        """Every static name that is visible here."""
        own = {*self.definitions, *self.tables, *self.families}
        return own | (self.outer.names() if self.outer else set())

    def lookup(self, name: str, span: Span) -> Expression | None:
        """The reduced value of a static name, or None if it is not static. Raises SpecError."""
        if name in self._values:
            return self._values[name]
        if name not in self.definitions:
            return self.outer.lookup(name, span) if self.outer else None
        home = self.outer if self._names_itself(name) and self.outer else self
        return self._computed(name, home, self.definitions[name], span)

    def spend(self, count: int, span: Span) -> None:
        """Count what comprehensions unroll to. Raises SpecError when it is too much."""
        if self.outer is not None:
            self.outer.spend(count, span)
            return
        self.unrolled += count
        if self.unrolled > LARGEST_UNROLLING:
            refuse(
                "GG306",
                "the comprehensions of this spec unroll to too many items",
                span,
                found=f"more than {LARGEST_UNROLLING}",
                expected="smaller ranges",
            )

    def _names_itself(self, name: str) -> bool:
        """Whether a definition such as `filters: filters` means the outer name."""
        return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(self.definitions[name]))

    def reduce(self, expression: Expression) -> Expression:
        """The expression with all static parts evaluated.

        Raises:
            SpecError: a static part has no value (division by zero, an index outside its family, ...).
        """
        self.grow(0, expression.span)
        reduced = _Reducer(self).reduce(expression)
        self.grow(size(reduced, LARGEST_TOTAL), expression.span)
        return reduced

    def grow(self, parts: int, span: Span) -> None:
        """Count the parts of what was reduced. Raises SpecError when all together are too many."""
        if self.outer is not None:
            self.outer.grow(parts, span)
            return
        if self.written > LARGEST_TOTAL:
            give_up()
        self.written += parts
        if self.written > LARGEST_TOTAL:
            refuse(
                "GG415",
                "with everything written out, this spec is too large",
                span,
                found=f"more than {LARGEST_TOTAL:,} parts of expressions",
                expected="smaller ranges or fewer repetitions",
            )

    def member(self, name: str, index: object, span: Span) -> Expression | None:
        """A member of a static family or table, or None if `name` is neither. Raises SpecError."""
        if f"{name}[{index}]" in self.families:  # which is a family itself
            self.refuse_family(f"{name}[{index}]", span)
        if name in self.tables:
            if index not in self.tables[name]:
                known = ", ".join(str(key) for key in self.tables[name])
                refuse("GG304", f"'{name}' has no entry {index}", span, found=str(index), expected=f"one of {known}")
            return self._computed(f"{name}[{index}]", self, self.tables[name][index], span)
        for family in self.families.get(name, []):
            if index in family.members:
                inner = self.child(**{**family.outer, family.variable: literal(index, span)})
                return self._computed(f"{name}[{index}]", inner, family.body, span)
        if name in self.families:
            known = ", ".join(str(m) for family in self.families[name] for m in family.members)
            refuse("GG304", f"'{name}' has no member {index}", span, found=str(index), expected=f"one of {known}")
        return self.outer.member(name, index, span) if self.outer else None

    def refuse_family(self, name: str, span: Span) -> NoReturn:
        """Refuse a static family where one of its members belongs. Raises SpecError."""
        entries = ", ".join(f"{name}[{entry}]" for entry in self.entries(name))
        refuse("GG304", f"'{name}' is a table, and one entry of it belongs here", span, name, f"one of {entries}")

    def entries(self, name: str) -> list[object]:
        """The indices of a static family or table; none if `name` is neither."""
        if name in self.tables:
            return list(self.tables[name])
        if name in self.families:
            return [member for family in self.families[name] for member in family.members]
        return self.outer.entries(name) if self.outer and name not in self.definitions else []

    def _computed(self, name: str, home: "Scope", body: Expression, span: Span) -> Expression:
        """The reduced body of a name, computed once; a name that failed is not reported again."""
        if name in self._failed:
            give_up()
        if name in self._active:
            circle = " -> ".join([*self._active[self._active.index(name) :], name])
            refuse("GG303", "static names depend on each other in a circle", span, found=circle)
        if name not in self._values:
            self._active.append(name)
            try:
                self._values[name] = _bounded(home.reduce(body), span)
            except SpecError:
                self._failed.add(name)
                raise
            finally:
                self._active.pop()
        return self._values[name]


def _bounded(expression: Expression, span: Span) -> Expression:
    if too_large(expression):
        refuse(
            "GG301",
            "what this stands for is too large",
            span,
            expected="fewer parts; names under values: are computed once, however often they are used",
        )
    return expression


@dataclass
class _Reducer:
    scope: Scope

    def reduce(self, node: Expression) -> Expression:
        rule = _RULES.get(type(node))
        return node if rule is None else rule(self, node)

    def _broken(self, node: ast.Broken) -> Expression:
        give_up()

    def _name(self, node: ast.Name) -> Expression:
        if self.scope.hides(node.id):
            return node
        value = self.scope.lookup(node.id, node.span)
        if value is None and self.scope.entries(node.id):
            self.scope.refuse_family(node.id, node.span)
        return node if value is None else replace(value, span=node.span)

    def _attribute(self, node: ast.Attribute) -> Expression:
        if isinstance(node.base, ast.Name) and node.base.id == "params":
            value = self.scope.lookup(node.name, node.span)
            if value is not None:
                return replace(value, span=node.span)
        return replace(node, base=self.reduce(node.base))

    def _index(self, node: ast.Index) -> Expression:
        index = self.reduce(node.index)
        key = constant(index)
        family = self._family(node.base)
        if family is not None:
            found = self.scope.member(family, key, node.span)
            if found is not None:
                return replace(found, span=node.span)
        base = self.reduce(node.base)
        if isinstance(base, ast.Sequence):
            return self._item(base, key, node.span)
        if isinstance(base, ast.Name):
            return ast.Name(member_name(base.id, key, node.span), node.span)
        if isinstance(base, ast.Attribute):  # a named output of a family
            return replace(base, name=member_name(base.name, key, node.span), span=node.span)
        return replace(node, base=base, index=index)

    def _family(self, base: Expression) -> str | None:
        """The name of what an index chooses from: `w`, or `w[1]` where `w` is a static family in two indices."""
        if isinstance(base, ast.Name):
            return base.id
        if isinstance(base, ast.Index) and (outer := self._family(base.base)) is not None:
            name = f"{outer}[{constant(self.reduce(base.index))}]"
            return name if self.scope.entries(name) else None
        return None

    def _item(self, base: ast.Sequence, key: object, span: Span) -> Expression:
        if isinstance(key, int) and not isinstance(key, bool) and 0 <= key < len(base.items):
            return replace(base.items[key], span=span)
        message = f"the list has no item {key}"
        return refuse("GG304", message, span, expected=f"0..{len(base.items) - 1}")

    def _call(self, node: ast.Call) -> Expression:
        function = node.function if isinstance(node.function, ast.Name) else self.reduce(node.function)
        if isinstance(function, ast.Name):
            bound = None if self.scope.hides(function.id) else self.scope.lookup(function.id, function.span)
            function = replace(bound, span=function.span) if isinstance(bound, ast.Name) else function
        arguments = tuple(self._items(node.arguments))
        keywords = tuple((key, self.reduce(value)) for key, value in node.keywords)
        if isinstance(function, ast.Name) and not keywords:
            if function.id == "sum" and len(node.arguments) == 1 and isinstance(node.arguments[0], ast.Comprehension):
                return self._sum(arguments, node.span)
            folded = fold_call(function.id, arguments, node.span)
            if folded is not None:
                return folded
        return ast.Call(function, arguments, keywords, node.span)

    def _items(self, items: tuple[Expression, ...]) -> Iterator[Expression]:
        """Reduced items; comprehensions are unrolled and absent items dropped."""
        for item in items:
            if isinstance(item, ast.Comprehension):
                reduced = self.reduce(item.domain)
                if is_late(reduced):
                    inside = Scope(outer=self.scope, hidden=frozenset((item.variable,)))
                    yield replace(item, item=inside.reduce(item.item), domain=reduced)
                    continue
                domain = members(reduced)
                self.scope.spend(len(domain), item.span)
                for index in domain:
                    bound = self.scope.child(**{item.variable: literal(index, item.span)})
                    if isinstance(item.item, ast.Comprehension):
                        yield from _Reducer(bound)._items((item.item,))
                        continue
                    reduced = bound.reduce(item.item)
                    if not is_absent(reduced):
                        yield reduced
                continue
            reduced = self.reduce(item)
            if not is_absent(reduced):
                yield reduced

    def _sum(self, terms: tuple[Expression, ...], span: Span) -> Expression:
        if not terms:
            return ast.Literal(0, span)
        if any(isinstance(term, ast.Comprehension) for term in terms):
            return ast.Call(ast.Name("sum", span), terms, (), span)
        return self.reduce(total_of(terms, span))

    def _unary(self, node: ast.Unary) -> Expression:
        return fold_unary(node, self.reduce(node.operand))

    def _binary(self, node: ast.Binary) -> Expression:
        if ast.is_sum(node):
            return ast.along(node, self.reduce, self._operation)
        return self._operation(self.reduce(node.left), node)

    def _operation(self, left: Expression, node: ast.Binary) -> Expression:
        """An operation of which the left side is reduced already."""
        return fold_binary(node, left, self.reduce(node.right))

    def _conditional(self, node: ast.Conditional) -> Expression:
        test = self.reduce(node.test)
        if isinstance(test, ast.Literal):
            if test.value:
                return self.reduce(node.then)
            return (
                self.reduce(node.otherwise)
                if node.otherwise is not None
                else ast.Conditional(test, test, None, node.span)
            )
        otherwise = self.reduce(node.otherwise) if node.otherwise is not None else None
        return ast.Conditional(self.reduce(node.then), test, otherwise, node.span)

    def _range(self, node: ast.Range) -> Expression:
        return fold_range(self.reduce(node.start), self.reduce(node.stop), node.span)

    def _sequence(self, node: ast.Sequence) -> Expression:
        return ast.Sequence(tuple(self._items(node.items)), node.span)

    def _comprehension(self, node: ast.Comprehension) -> Expression:
        refuse("GG306", "'for' belongs inside a call or a list", node.span)


_RULES: Mapping[type, Callable[[_Reducer, Any], Expression]] = {
    ast.Broken: _Reducer._broken,
    ast.Name: _Reducer._name,
    ast.Attribute: _Reducer._attribute,
    ast.Index: _Reducer._index,
    ast.Call: _Reducer._call,
    ast.Unary: _Reducer._unary,
    ast.Binary: _Reducer._binary,
    ast.Conditional: _Reducer._conditional,
    ast.Range: _Reducer._range,
    ast.Sequence: _Reducer._sequence,
    ast.Comprehension: _Reducer._comprehension,
}


def is_late(domain: Expression) -> bool:
    """Whether the members of a comprehension's domain are known once the layers of networks are: `matrices(G)`."""
    return isinstance(domain, ast.Call) and domain.function == ast.Name("matrices", domain.function.span)


def is_absent(expression: Expression) -> bool:
    """Whether an item was switched off: a conditional without `else` whose test is false."""
    match expression:
        case ast.Conditional(test=ast.Literal(value=value), otherwise=None):
            return not value
        case _:
            return False
