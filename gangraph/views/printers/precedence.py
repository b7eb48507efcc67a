"""How tightly formulas bind, by the table of the expression language."""

from gangraph.language.expression.model import PRECEDENCE

SUM, PRODUCT, POWER, ATOM = (PRECEDENCE[operator] for operator in ("+", "*", "**", "atom"))
