"""From the text of an expression to its syntax tree: a precedence-climbing parser over the tokens.

chain       = expression {"," expression}
expression  = or ["if" or ["else" expression]]
or          = and {"or" and}             and = not {"and" not}          not = ["not"] comparison
comparison  = range {("<" | "<=" | ">" | ">=" | "==" | "!=" | "in") range}
range       = sum [".." sum]
sum         = product {("+" | "-") product}
product     = unary {("*" | "/" | "//" | "%") unary}
unary       = ["-" | "+"] power          power = postfix ["**" unary]
postfix     = atom {"." name | "[" expression "]" | "(" [argument {"," argument}] ")"} [unit]
argument    = [name "="] expression {"for" name "in" expression}
atom        = number | string | name | "(" expression ")" | "[" [argument {"," argument}] "]"
unit        = "steps" | "epochs" | "images" | "kimg"
"""

from __future__ import annotations

from typing import NoReturn

from gangraph.errors import Span, nearest
from gangraph.language.expression.lexer import Token, refuse_part, tokenize
from gangraph.language.expression.model import (
    PRECEDENCE,
    UNITS,
    Attribute,
    Binary,
    Call,
    Comprehension,
    Conditional,
    Expression,
    Index,
    Literal,
    Name,
    Quantity,
    Range,
    Sequence,
    Unary,
)
from gangraph.language.expression.size import too_large
from gangraph.language.scalar import Scalar
from gangraph.registry import SYNONYMS

_CONSTANTS = {"true": True, "false": False, "none": None}
_DEEPEST = 30  # brackets in brackets
_LARGEST_NUMBER = 1e30


def parse_expression(source: Scalar) -> Expression:
    """One expression.

    Raises:
        SpecError: the text does not follow the grammar; the problem points at the character.
    """
    parser = _Parser(source)
    result = parser.expression()
    parser.finish("an operator or the end of the expression")
    parser.bounded(result)
    return result


def parse_chain(source: Scalar) -> tuple[Expression, ...]:
    """Expressions separated by commas, as in a chain of layers. Raises SpecError."""
    parser = _Parser(source)
    items = [parser.expression()]
    while parser.accept(","):
        items.append(parser.expression())
    parser.finish("',' or the end of the chain")
    for item in items:
        parser.bounded(item)
    return tuple(items)


def parse_name(source: Scalar) -> str:
    """A key that is a name and nothing else. Raises SpecError."""
    parser = _Parser(source)
    name = parser.expect("name", "a name").text
    parser.finish("the end of the name")
    return name


Indices = tuple[tuple[str | None, Expression], ...]


def parse_header(source: Scalar) -> tuple[str, Indices]:
    """A key and its indices, each a variable with its domain, or an index without a variable.

    `name`, `name[index]`, `name[variable in domain]`, and `name[i in 1..3][k in 1..i]` in several. Raises SpecError.
    """
    parser = _Parser(source)
    name = parser.expect("name", "a name").text
    indices: list[tuple[str | None, Expression]] = []
    while parser.accept("["):
        variable = None
        if parser.token.kind == "name" and parser.following.text == "in":
            variable = parser.advance().text
            parser.advance()
        indices.append((variable, parser.expression()))
        parser.close_index()
    parser.finish("the end of the name")
    return name, tuple(indices)


def is_loop(key: str) -> bool:
    """Whether a key is meant to be `for variable in domain`, whose entries are written once for every member."""
    return key == "for" or key.startswith("for ")


def parse_loop(source: Scalar) -> tuple[str, Expression]:
    """A key of the form `for variable in domain`. Raises SpecError."""
    parser = _Parser(source)
    parser.expect("for", "'for'")
    variable = parser.expect("name", "a name").text
    parser.expect("in", "'in'")
    domain = parser.expression()
    parser.finish("the end of the range")
    return variable, domain


def _called(
    function: Expression, arguments: tuple[Expression, ...], keywords: tuple[tuple[str, Expression], ...], span: Span
) -> Expression:
    """A call; by an older name what that means: a call by the newer name, or an operation of two values."""
    meant = SYNONYMS.get(function.id, "") if isinstance(function, Name) else ""
    if meant in PRECEDENCE and len(arguments) == 2 and not keywords:
        return Binary(meant, *arguments, span)
    if meant and meant not in PRECEDENCE:
        function = Name(meant, function.span)
    return Call(function, arguments, keywords, span)


class _Parser:
    """Recursive descent over the tokens of one scalar."""

    def __init__(self, source: Scalar) -> None:
        self.source = source
        self.position = 0
        self.depth = 0
        self.tokens = tokenize(source)

    @property
    def token(self) -> Token:
        return self.tokens[self.position]

    @property
    def following(self) -> Token:
        return self.tokens[min(self.position + 1, len(self.tokens) - 1)]

    def advance(self) -> Token:
        token = self.token
        self.position += token.kind != "end"
        return token

    def accept(self, *kinds: str) -> Token | None:
        return self.advance() if self.token.kind in kinds else None

    def expect(self, kind: str, description: str) -> Token:
        if self.token.kind != kind:
            self._refuse_token(description)
        return self.advance()

    def close_index(self) -> None:
        """Read the `]` after an index; a `,` there is told where a second index belongs. Raises SpecError."""
        if self.token.kind == ",":
            self._refuse(self.token.start, self.token.end, "','", "']'", "each index has brackets of its own: x[i][k]")
        self.expect("]", "']'")

    def finish(self, expected: str) -> None:
        if self.token.kind != "end":
            self._refuse_token(expected)

    def _refuse_token(self, expected: str) -> NoReturn:
        token = self.token
        self._refuse(token.start, token.end, f"'{token.text}'" if token.text else "the end of the expression", expected)

    def _refuse(self, start: int, end: int, found: str, expected: str, fix: str = "") -> NoReturn:
        refuse_part(self.source, start, end, found, expected, fix)

    def _span(self, start: int) -> Span:
        return self.source.part(start, self.tokens[self.position - 1].end)

    def bounded(self, expression: Expression) -> None:
        """Refuse an expression that is too large to be anything but a mistake. Raises SpecError."""
        if too_large(expression):
            self._refuse(
                0,
                len(self.source),
                "an expression of very many parts",
                "a shorter one: name its parts, or use a family",
            )

    def expression(self) -> Expression:
        self.depth += 1
        if self.depth > _DEEPEST:
            self._refuse(self.token.start, self.token.end, "brackets nested too deeply", f"at most {_DEEPEST} levels")
        start = self.token.start
        result = self._binary(PRECEDENCE["or"])
        if self.accept("if"):
            test = self._binary(PRECEDENCE["or"])
            otherwise = self.expression() if self.accept("else") else None
            result = Conditional(result, test, otherwise, self._span(start))
        self.depth -= 1
        return result

    def _binary(self, level: int) -> Expression:
        if level == PRECEDENCE["not"]:
            return self._not()
        if level == PRECEDENCE["unary"]:
            return self._unary()
        start = self.token.start
        left = self._binary(level + 1)
        while self.token.kind in PRECEDENCE and PRECEDENCE[self.token.kind] == level:
            operator = self.advance().text
            right = self._binary(level + 1)
            span = self._span(start)
            left = Range(left, right, span) if operator == ".." else Binary(operator, left, right, span)
        return left

    def _not(self) -> Expression:
        start = self.token.start
        if self.accept("not"):
            return Unary("not", self._nested(self._not), self._span(start))
        return self._binary(PRECEDENCE["not"] + 1)

    def _unary(self) -> Expression:
        start = self.token.start
        sign = self.accept("-", "+")
        if sign is None:
            return self._power()
        return Unary(sign.text, self._nested(self._unary), self._span(start))

    def _nested(self, rule: object) -> Expression:
        self.depth += 1
        if self.depth > _DEEPEST:
            self._refuse(self.token.start, self.token.end, "signs nested too deeply", f"at most {_DEEPEST} levels")
        result: Expression = rule()  # type: ignore[operator]
        self.depth -= 1
        return result

    def _power(self) -> Expression:
        start = self.token.start
        base = self._postfix()
        if self.accept("**"):
            return Binary("**", base, self._nested(self._unary), self._span(start))
        return base

    def _postfix(self) -> Expression:
        start = self.token.start
        result = self._atom()
        while True:
            if self.accept("."):
                name = self.expect("name", "a name after '.'").text
                result = Attribute(result, name, self._span(start))
            elif self.accept("["):
                index = self.expression()
                self.close_index()
                result = Index(result, index, self._span(start))
            elif self.accept("("):
                arguments, keywords = self._arguments()
                result = _called(result, arguments, keywords, self._span(start))
            elif self.token.kind == "name" and self.token.text in UNITS:
                unit = self.advance()
                one = Quantity(1, UNITS[unit.text], self.source.part(unit.start, unit.end))
                return Binary("*", result, one, self._span(start))
            else:
                return result

    def _arguments(self) -> tuple[tuple[Expression, ...], tuple[tuple[str, Expression], ...]]:
        arguments: list[Expression] = []
        keywords: dict[str, Expression] = {}
        while not self.accept(")"):
            token = self.token
            if token.kind == "name" and self.following.kind == "=":
                if token.text in keywords:
                    self._refuse(token.start, token.end, f"'{token.text}' twice", "each keyword once")
                self.position += 2
                keywords[token.text] = self.expression()
            elif keywords:
                self._refuse_token("name=value, since positional arguments come first")
            else:
                arguments.append(self._item())
            if self.token.kind != ")":
                self.expect(",", "',' or ')'")
        return tuple(arguments), tuple(keywords.items())

    def _item(self) -> Expression:
        start = self.token.start
        item = self.expression()
        loops = []
        while self.accept("for"):
            variable = self.expect("name", "a name").text
            self.expect("in", "'in'")
            loops.append((variable, self.expression()))
        for variable, domain in reversed(loops):  # the first is the outermost
            item = Comprehension(item, variable, domain, self._span(start))
        return item

    def _atom(self) -> Expression:
        token = self.token
        if token.kind == "number":
            return self._number()
        if token.kind == "string":
            self.advance()
            return Literal(token.text[1:-1], self._span(token.start))
        if token.kind == "name":
            self.advance()
            if token.text in _CONSTANTS:
                return Literal(_CONSTANTS[token.text], self._span(token.start))
            return Name(token.text, self._span(token.start))
        if self.accept("("):
            inside = self.expression()
            self.expect(")", "')'")
            return inside
        if self.accept("["):
            return self._list(token.start)
        return self._refuse_token("a value")

    def _list(self, start: int) -> Expression:
        items: list[Expression] = []
        while not self.accept("]"):
            items.append(self._item())
            if self.token.kind != "]":
                self.expect(",", "',' or ']'")
        return Sequence(tuple(items), self._span(start))

    def _number(self) -> Expression:
        token = self.advance()
        value = float(token.text)
        if value >= _LARGEST_NUMBER:
            self._refuse(token.start, token.end, "a number that is too large", "a number below 1e30")
        value = int(token.text) if token.text.isdigit() else value
        unit = self.token
        if unit.kind != "name":
            return Literal(value, self._span(token.start))
        if unit.text not in UNITS:
            self._refuse(
                unit.start,
                unit.end,
                f"'{unit.text}' after a number",
                "an operator, or a unit: steps, epochs, images, kimg",
                nearest(unit.text, UNITS),
            )
        self.advance()
        return Quantity(value, UNITS[unit.text], self._span(token.start))
