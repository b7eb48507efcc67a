"""Expressions in LaTeX. Ops and losses that were registered with a formula are written by it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import constant, is_constant
from gangraph.language.expression.model import PRECEDENCE, Expression, binding, parts, unparse
from gangraph.language.expression.schedule import RAMPS
from gangraph.language.place import place_of
from gangraph.registry import Definition
from gangraph.views.calls import accent_of, called, unstopped
from gangraph.views.families import IndexedTexts, families
from gangraph.views.printers.precedence import ATOM, POWER, PRODUCT, SUM
from gangraph.views.printers.registered import Given, bound, definition_of
from gangraph.views.printers.symbols import IN_FORMULAS, Symbols, indexed, number, symbol, without_marks
from gangraph.views.printers.text import signed_terms

_PLACE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_SUBSCRIPT = re.compile(r"_\{(?:[^{}]|\{[^{}]*\})*\}$")
_SIGNS = {"==": "=", "!=": r"\neq", "<=": r"\leq", ">=": r"\geq", "in": r"\in",
          "and": r"\text{ and }", "or": r"\text{ or }"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Formula:
    """LaTeX, and how tightly its outermost operation binds.

    A number is `weight` times nothing, a product with one `weight` times `base`: numbers that meet are multiplied.
    """

    text: str
    level: int = ATOM
    weight: float | None = None
    base: Formula | None = None

    @property
    def factors(self) -> tuple[float, Formula | None]:
        """The number in front, and what it multiplies."""
        return (1, self) if self.weight is None else (self.weight, self.base)

    def guarded(self, level: int) -> str:
        r"""The text, in parentheses where its outermost operation binds less than `level`.

        Parentheses stretch around what contains large fences: \left( ... \right).
        """
        if self.level >= level:
            return self.text
        return rf"\left({self.text}\right)" if r"\left" in self.text else f"({self.text})"


@dataclass(frozen=True, slots=True)
class Printer:
    """Writes expressions with the symbols of their names.

    `inline` are names that are written out, and `sources` gives the names of what is drawn beneath some names: what an
    expectation is taken over.
    """

    symbols: Symbols = field(default_factory=Symbols)
    inline: Mapping[str, Expression] = field(default_factory=dict)
    sources: Callable[[Iterable[str]], tuple[str, ...]] = lambda _: ()

    def formula(self, expression: Expression) -> Formula:
        """An expression as a formula."""
        match expression:
            case ast.Literal(value=value):
                return _constant(value)
            case ast.Quantity(value=value, unit=unit):
                return Formula(rf"{value}\text{{ {unit}}}")
            case ast.Name(id=name):
                return self.formula(self.inline[name]) if name in self.inline else Formula(self._symbol(name))
            case ast.Attribute(base=base, name=name):
                of = self.formula(base).text  # a member of a family has a subscript already, and LaTeX allows one
                return Formula(f"{f'{{{of}}}' if _SUBSCRIPT.search(of) else of}_{{{indexed(name)}}}")
            case ast.Sequence(items=items):
                return Formula(f"[{self._joined(items)}]")
            case ast.Call():
                return self._call(expression)
            case ast.Unary(operator=operator, operand=operand):
                return _unary(operator, self.formula(operand))
            case ast.Binary(operator="+" | "-"):
                return self._sum(expression)
            case ast.Binary(operator=operator, left=left, right=right):
                return _binary(operator, self.formula(left), self.formula(right))
            case ast.Conditional(then=then, test=test, otherwise=otherwise):
                return _conditional(*(self.formula(part) for part in (then, test, otherwise) if part is not None))
        return Formula(words(unparse(expression)), binding(expression))

    def _sum(self, expression: ast.Binary) -> Formula:
        """A sum, in which terms that differ in an index alone are one."""
        first, sums = ast.summands(expression)
        signs = ["+", *(each.operator for each in sums)]
        terms = [self.formula(first), *(self.formula(each.right) for each in sums)]
        (_, start), *others = totals(signs, terms)
        return reduce(lambda left, right: _sum(right[0], left, right[1]), others, start)

    def names(self, *expressions: Expression) -> tuple[str, ...]:
        """The names in expressions that have symbols; not those of what is called."""
        found = dict[str, None]()
        for expression in expressions:
            if isinstance(expression, ast.Name):
                written = self.inline.get(expression.id)
                own = (expression.id,) if expression.id in self.symbols.names else ()
                found |= dict.fromkeys(self.names(written) if written is not None else own)
            else:
                inside = [*parts(expression)][isinstance(expression, ast.Call) :]
                found |= dict.fromkeys(self.names(*inside))
        return tuple(found)

    def _symbol(self, name: str) -> str:
        return self.symbols.names[name] if name in self.symbols.names else indexed(name)

    def _joined(self, expressions: Iterable[Expression]) -> str:
        return ", ".join(self.formula(each).text for each in expressions)

    def _call(self, call: ast.Call) -> Formula:
        name, definition = called(call), definition_of(call, self.symbols.networks)
        match name, call.arguments:
            case _ if name in self.symbols.networks:
                return Formula(f"{self.symbols.networks[name]}({self._given_to(call)})")
            case "parameters", (network,):
                place = place_of(network)
                assert place is not None
                return Formula(rf"\theta_{{{self.place(place.network, place.path)}}}")
            case "weight_matrix", (layer,):
                place = place_of(layer)
                assert place is not None
                return Formula(f"W_{{{self.place(place.network, place.path)}}}")
            case "grad", (output, at):
                return Formula(rf"\nabla_{{{self.formula(at).text}}} {self.formula(output).guarded(ATOM)}", POWER)
            case _ if accent := accent_of(call):
                return Formula(rf"\{accent}{{{self.formula(unstopped(call)).text}}}")
            case _, (first, last) if name in RAMPS and first == last:
                return self.formula(first)
        if definition is not None and definition.traits.latex:
            return self._registered(definition, call)
        spaced = unparse(call.function).replace("_", r"\ ")
        return Formula(rf"\mathrm{{{spaced}}}({self._given_to(call)})")

    def _given_to(self, call: ast.Call) -> str:
        """The arguments of a call, those by name after the others."""
        named = (f"{symbol(key)} = {self.formula(value).text}" for key, value in call.keywords)
        return ", ".join(filter(None, [self._joined(call.arguments), *named]))

    def place(self, network: str, path: str) -> str:
        """A network by its symbol, or what is at a path in it, with the path as text."""
        made = self.symbols.networks.get(network, indexed(network))
        within = path.replace("_", r"\_")
        return rf"{made}.\mathrm{{{within}}}" if path else made

    def _registered(self, definition: Definition, call: ast.Call) -> Formula:
        """A registered formula with the arguments in it."""
        template, arguments = definition.traits.latex, dict(bound(definition, call))
        several = {n: value for n, value in arguments.items() if isinstance(value, tuple)}
        arguments |= {f"{name}_{i}": each for name, values in several.items() for i, each in enumerate(values)}
        if not isinstance(template, str):
            constants = [constant(each) if is_constant(each) else None for each in call.arguments]
            template = template(*constants, **{k: constant(v) for k, v in call.keywords if is_constant(v)})
        given = {name: self._given(value) for name, value in arguments.items()}
        if re.fullmatch(r"\$\{\w+\}", template):
            return given[template[2:-1]]
        names = {name: self.names(*(v if isinstance(v, tuple) else (v,))) for name, v in arguments.items()}
        return Formula(self._filled(template, given, names), level_of(template))

    def _given(self, value: Given) -> Formula:
        return Formula(self._joined(value)) if isinstance(value, tuple) else self.formula(value)

    def _filled(self, template: str, given: Mapping[str, Formula], names: Mapping[str, Iterable[str]]) -> str:
        """A template with its places filled; each E[...] in it is the mean over the sources beneath what is inside."""
        start = template.find("E[")
        if start < 0:
            return _PLACE.sub(lambda m: given[m[1]].text if m[1] else given[m[2]].guarded(ATOM), template)
        end = _closing(template, start + 1)
        inside = _folded(template[start + 2 : end], given)
        beneath = self.sources(name for m in _PLACE.finditer(inside) for name in names[m[1] or m[2]])
        over = ", ".join(map(self._symbol, beneath))
        before, mean, after = (
            self._filled(part, given, names) for part in (template[:start], inside, template[end + 1 :])
        )
        return rf"{before}\mathbb{{E}}{f'_{{{over}}}' if over else ''}\left[{mean}\right]{after}"


def moment(expression: Expression) -> str:
    r"""A number or condition over time: `step % 2 == 0` is \mathrm{step} \bmod 2 = 0."""
    return without_marks(Printer().formula(expression).text)


def words(text: str) -> str:
    """Words in upright letters."""
    plain = re.sub(r"[^\w .,()+-]|_", " ", text)
    return rf"\text{{{plain}}}"


def _constant(value: float | str | bool | None) -> Formula:
    if isinstance(value, bool | str) or value is None:
        return Formula(number(value))
    return Formula(number(value), SUM if value < 0 else ATOM, weight=value)


def _unary(operator: str, operand: Formula) -> Formula:
    if operator == "not":
        return Formula(rf"\text{{not }}{operand.guarded(POWER)}", PRECEDENCE["not"])
    if operator == "+":
        return operand
    weight, base = operand.factors
    return scaled(-weight, base) if base is not None else _constant(-weight)


def _binary(operator: str, left: Formula, right: Formula) -> Formula:
    level = PRECEDENCE[operator]
    match operator:
        case "*":
            (one, first), (other, second) = left.factors, right.factors
            bases = [base for base in (first, second) if base is not None]
            return scaled(one * other, reduce(_product, bases)) if bases else _constant(one * other)
        case "/":
            return Formula(rf"\frac{{{left.text}}}{{{right.text}}}", PRODUCT)
        case "//":
            return Formula(rf"\lfloor {left.guarded(PRODUCT)} / {right.guarded(POWER)} \rfloor")
        case "**":
            return Formula(f"{left.guarded(ATOM)}^{{{right.text}}}", POWER)
        case "%":
            return Formula(rf"{left.guarded(POWER)} \bmod {right.guarded(POWER)}", SUM)
    least = level if operator in ("and", "or") else level + 1
    return Formula(f"{left.guarded(level)} {_SIGNS.get(operator, operator)} {right.guarded(least)}", level)


def totals(signs: Sequence[str], terms: Sequence[Formula]) -> tuple[tuple[str, Formula], ...]:
    r"""The terms of a sum with their signs; those that differ in an index alone are one: \sum_{k = 0}^{4} x_{k}."""
    found = families([f"{sign} {term.text}" for sign, term in zip(signs, terms, strict=True)], IN_FORMULAS)
    return tuple((signs[each.places[0]], family_sum(each, terms[each.places[0]], each.text[2:])) for each in found)


def family_sum(family: IndexedTexts, term: Formula, text: str) -> Formula:
    """The sum over a family, of which `term` is one and `text` has the letter; a term by itself as it is."""
    if not family.letter:
        return term
    item = replace(term, text=text, weight=None, base=None)
    return Formula(rf"\sum{_bounds(family)} {item.guarded(PRODUCT)}", PRODUCT)


def _bounds(family: IndexedTexts) -> str:
    r"""What a sum over a family runs over: _{k = 0}^{4}, or _{k \in \{0, 2, 5\}}."""
    if family.ends is not None:
        first, last = family.ends
        return rf"_{{{family.letter} = {first}}}^{{{last}}}"
    return rf"_{{{_members(family)}}}"


def _members(family: IndexedTexts) -> str:
    r"""The indices of a family: k = 0, \ldots, 4, or k \in \{0, 2, 5\}."""
    if family.ends is not None:
        return rf"{family.letter} = {family.ends[0]}, \ldots, {family.ends[1]}"
    return rf"{family.letter} \in \{{{', '.join(family.indices)}\}}"


def with_range(family: IndexedTexts) -> str:
    """What is said of each member of a family, and of which; a text by itself as it is."""
    return rf"{family.text} \text{{ for }} {_members(family)}" if family.letter else family.text


def _sum(sign: str, left: Formula, right: Formula) -> Formula:
    """A sum or a difference; a - (-2 b) is a + 2 b."""
    if right.factors[0] < 0 and right.base is not None:
        sign, right = "-" if sign == "+" else "+", scaled(-right.factors[0], right.base)
    least = SUM if sign == "+" and not right.text.startswith("-") else PRODUCT
    return Formula(f"{left.guarded(SUM)} {sign} {right.guarded(least)}", SUM)


def scaled(weight: float, base: Formula) -> Formula:
    """A number times a formula that has none in front."""
    inside = base.guarded(PRODUCT)
    match weight:
        case 1:
            return base
        case -1:
            text = f"-{inside}"
        case _:
            text = f"{number(weight)} {_between(inside)} {inside}"
    return Formula(text, SUM if weight < 0 else PRODUCT, weight, base)


def _product(left: Formula, right: Formula) -> Formula:
    inside = right.guarded(PRODUCT)
    return Formula(f"{left.guarded(PRODUCT)} {_between(inside)} {inside}", PRODUCT)


def _between(right: str) -> str:
    """What stands between factors: a dot before digits, which would seem to belong to those before them."""
    return r"\cdot" if right[:1].isdigit() else r"\,"


def _conditional(then: Formula, test: Formula, otherwise: Formula | None = None) -> Formula:
    above = PRECEDENCE["if"] + 1
    rest = rf"\text{{, else }} {otherwise.text}" if otherwise is not None else ""
    return Formula(rf"{then.guarded(above)} \text{{ if }} {test.guarded(above)}{rest}", PRECEDENCE["if"])


def level_of(template: str) -> int:
    """How tightly the outermost operation of a registered formula binds."""
    bare = re.sub(r"\$\{\w+\}", "$x", template)
    for fence in ("Vert", "vert"):
        bare = bare.replace(rf"\l{fence}", "(").replace(rf"\r{fence}", ")")
    depth, outside = 0, ""
    for letter in bare:
        depth += letter in "([{"
        outside += letter if depth == 0 else "."
        depth -= letter in ")]}"
    if "+" in outside or "-" in outside:
        return SUM
    return ATOM if re.fullmatch(r"\\?\w*\.+(_\w)?", outside) else PRODUCT


def _closing(text: str, start: int) -> int:
    """Where the bracket at `start` is closed."""
    depth = 0
    for i, letter in enumerate(text[start:], start):
        depth += (letter == "[") - (letter == "]")
        if depth == 0:
            return i
    raise ValueError(f"the formula '{text}' does not close a bracket")


def _folded(template: str, given: Mapping[str, Formula]) -> str:
    """A sum with the numbers among its arguments in it: 1 - c is worked out, and coefficients 0 and 1 are not shown."""
    numbers = {name: each.text for name, each in given.items() if re.fullmatch(r"[\d.]+", each.text)}
    filled = _PLACE.sub(lambda match: numbers.get(match[1] or match[2], match[0]), template)
    worked = re.sub(r"\(1 - ([\d.]+)\)", lambda match: number(1 - float(match[1])), filled)
    kept = [re.sub(r"^([+-] ?)?1 ", r"\1", term) for term in signed_terms(worked) if not re.match(r"([+-] ?)?0 ", term)]
    return re.sub(r"^\+ |(?<=^-) ", "", " ".join(kept)) or "0"
