"""What the sections of a document have in common: static names, families, and problems that do not stop."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from gangraph.errors import Problem, Span, SpecError, refuse
from gangraph.language.document import schema
from gangraph.language.document.library import Files
from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import (
    LARGEST_FAMILY,
    constant,
    is_constant,
    literal,
    member_name,
    members,
    refuse_length,
)
from gangraph.language.expression.model import Expression
from gangraph.language.expression.static import Family, Scope, is_absent
from gangraph.language.expression.syntax import Indices, parse_header, parse_loop, parse_name
from gangraph.language.scalar import Scalar

T = TypeVar("T")
P = ParamSpec("P")

_MOST = 10**9  # of samples, passes and the like: more would never end


@dataclass
class Sections:
    """One phase of a document: its static names, and the reading of its sections. Problems are kept, not raised."""

    model: schema.Document
    files: Files
    span: Span  # of `train:`
    problems: list[Problem]
    broken: set[str] = field(default_factory=set)
    indices: Mapping[str, Expression] = field(default_factory=dict)  # of the loops that the phase stands in

    def __post_init__(self) -> None:
        model = self.model
        taken = {str(key) for section in model.named.values() for key in section}
        self.scope = self.static_scope(model.params, model.let, None)
        self.scope.definitions.update(self.indices)
        self.scope.hidden = frozenset(taken & {str(key) for key in model.params})

    def guarded(self, name: str, action: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T | None:
        """Run `action`; if it finds a problem, keep the problem, remember `name` as broken and give None."""
        try:
            return action(*arguments, **keywords)
        except SpecError as error:
            self.problems.extend(error.problems)
        except RecursionError:
            self.problems.append(self._too_deep(name))
        self.broken.add(name)
        return None

    def _too_deep(self, name: str) -> Problem:
        model = self.model
        sections: list[Mapping[Scalar, object]] = [
            model.params,
            model.let,
            *model.named.values(),
            model.train.optimizers,
        ]
        span = next((key.span for section in sections for key in section if key == name), self.span)
        return Problem(
            code="GG415",
            message="definitions depend on each other too many levels deep",
            span=span,
            found=name,
            expected="shorter chains of definitions",
        )

    def places(self) -> Iterator[tuple[str, Span]]:
        """Where each name was defined; the members of a family share their key."""
        for section in self.model.named.values():
            for key in section:
                for name, _ in self.guarded(key, self.expand, key, self.scope) or []:
                    yield name, key.span

    def params(self) -> dict[str, object]:
        """The params with their values, for printing."""
        values: dict[str, object] = {}
        for key in self.model.params:
            value = self.guarded(key, self.scope.lookup, key, key.span)
            if value is not None:
                values[str(key)] = constant(value) if is_constant(value) else ast.unparse(value)
        return values

    def static_scope(
        self, params: Mapping[Scalar, object], let: Mapping[Scalar, Expression], outer: Scope | None
    ) -> Scope:
        """A scope of params and `let` names."""
        scope = Scope(outer=outer)
        for key, value in params.items():
            self.guarded(key, parse_name, key)
            if isinstance(value, dict):
                self.guarded(key, scope.tables.update, {str(key): self._table(value)})
            else:
                scope.definitions[str(key)] = value  # type: ignore[assignment]
        for key, body in let.items():
            self.guarded(key, self._let, scope, key, body)
        return scope

    def _table(self, table: Mapping[Scalar, Expression]) -> dict[object, Expression]:
        return {int(key) if re.fullmatch(r"-?[0-9]{1,9}", key) else str(key): value for key, value in table.items()}

    def _let(self, scope: Scope, key: Scalar, body: Expression) -> None:
        name, indices = parse_header(key)
        if indices:
            self._static_family(scope, key, name, indices, body, {})
        else:
            scope.definitions[name] = body

    def _static_family(
        self, scope: Scope, key: Scalar, name: str, indices: Indices, body: Expression, outer: dict[str, Expression]
    ) -> None:
        """Define `name` over the first of its indices, and `name[1]` and so on over the others."""
        (variable, domain), *others = indices
        found = _indices(variable, scope.child(**outer).reduce(domain))
        scope.families.setdefault(name, []).append(Family(variable or "_", found, body, outer))
        for index in found if others else ():
            inner = {**outer, variable: literal(index, key.span)} if variable else outer
            self._static_family(scope, key, f"{name}[{index}]", tuple(others), body, inner)

    def expand(self, key: Scalar, scope: Scope) -> list[tuple[str, Scope]]:
        """The members that a key defines, each with the scope in which its body is evaluated. Raises SpecError."""
        name, indices = parse_header(key)
        made = [(name, scope)]
        for variable, domain in indices:
            made = [
                (member_name(name, index, key.span), inner.child(**{variable: literal(index, key.span)}))
                if variable
                else (member_name(name, index, key.span), inner)
                for name, inner in made
                for index in _indices(variable, inner.reduce(domain))
            ]
            if len(made) > LARGEST_FAMILY:
                refuse_length(len(made), key.span)
        return made

    def member(self, key: Scalar, scope: Scope) -> str:
        """The one name that a key means: `critic`, or `critic[2]` of a family. Raises SpecError."""
        name, indices = parse_header(key)
        for variable, domain in indices:
            if variable is not None:
                refuse(
                    "GG241",
                    "one name belongs here, not a family",
                    key.span,
                    found=str(key),
                    expected=f"a member, such as {name}[{variable}] in an entry under 'for {variable} in ...:'",
                )
            name = member_name(name, constant(scope.reduce(domain), scope.names()), key.span)
        return name

    def loop(self, key: Scalar, scope: Scope) -> list[Scope]:
        """A scope for each member of `for variable in domain`. Raises SpecError."""
        variable, domain = parse_loop(key)
        indices = members(scope.reduce(domain), scope.names())
        return [scope.child(**{variable: literal(index, key.span)}) for index in indices]

    def family_section(self, section: Mapping[Scalar, Expression], scope: Scope | None = None) -> dict[str, Expression]:
        """A section of `name: expression` entries, families expanded and each body reduced."""
        found: dict[str, Expression] = {}
        for key, body in section.items():
            for name, inner in self.guarded(key, self.expand, key, scope or self.scope) or []:
                if name in found:
                    self.problems.append(Problem(code="GG103", message=f"'{name}' is defined twice", span=key.span))
                value = self.guarded(name, inner.reduce, body)
                if value is not None and not is_absent(value):
                    found[name] = value
        return found

    def whole(self, written: Expression | None, default: int, scope: Scope | None = None) -> int:
        """A whole number from 1 to a billion. Raises SpecError."""
        if written is None:
            return default
        value = constant((scope or self.scope).reduce(written))
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 1 or value != int(value):
            refuse("GG225", "a whole number of at least 1 belongs here", written.span, found=str(value))
        if value > _MOST:
            refuse("GG225", "this number is too large", written.span, found=str(value), expected=f"at most {_MOST:,}")
        return int(value)

    def duration(self, written: Expression | None) -> ast.Quantity | None:
        """A length of training with its unit. Raises SpecError."""
        if written is None:
            return None
        value = self.scope.reduce(written)
        if not isinstance(value, ast.Quantity) or value.value <= 0:
            refuse(
                "GG226",
                "a length of training has a unit",
                written.span,
                found=ast.unparse(value),
                expected="a number above 0 of steps, epochs, images or kimg",
                fix=f"{ast.unparse(written)} steps" if is_constant(value) else "",
            )
        return value

    def optional(self, expression: Expression | None) -> Expression | None:
        """A reduced expression, or None where none is written. Raises SpecError."""
        return None if expression is None else self.scope.reduce(expression)


def _indices(variable: str | None, domain: Expression) -> tuple[int | str, ...]:
    """The members of a domain, or the single index of a key such as `h[1]`. Raises SpecError."""
    return members(domain) if variable else (constant(domain),)  # type: ignore[return-value]  # a name is made of it
