"""The ops that operators stand for: arithmetic and comparisons."""

import math
import operator
from collections.abc import Callable

import torch
from torch import Tensor

from gangraph.registry import op
from gangraph.vocabulary.intervals import UNIT, Interval, constant_interval


@op("add", range=lambda a, b: (a[0] + b[0], a[1] + b[1]))
def _add(a: Tensor, b: Tensor) -> Tensor:
    """a + b."""
    return a + b


@op("sub", range=lambda a, b: (a[0] - b[1], a[1] - b[0]))
def _sub(a: Tensor, b: Tensor) -> Tensor:
    """a - b."""
    return a - b


def _product_range(a: Interval, b: Interval) -> Interval:
    corners = [x * y for x in a for y in b if not (math.isinf(x) and y == 0) and not (math.isinf(y) and x == 0)]
    return min(corners, default=0.0), max(corners, default=0.0)


@op("mul", range=_product_range)
def _mul(a: Tensor, b: Tensor) -> Tensor:
    """a * b."""
    return a * b


def _quotient_range(a: Interval, b: Interval) -> Interval:
    if b[0] <= 0 <= b[1]:
        return -math.inf, math.inf
    return _product_range(a, (1 / b[1], 1 / b[0]))


@op("truediv", range=_quotient_range)
def _truediv(a: Tensor, b: Tensor) -> Tensor:
    """a / b."""
    return a / b


@op("pow")
def _pow(a: Tensor, b: float) -> Tensor:
    """a ** b."""
    return torch.pow(a, b)


@op("neg", range=lambda a: (-a[1], -a[0]))
def _neg(a: Tensor) -> Tensor:
    """-a."""
    return -a


def _comparison(name: str, sign: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The op of a comparison, by the name that it has in Python's `operator`."""
    compare: Callable[[Tensor, Tensor], Tensor] = getattr(operator, name)

    def mask(a: Tensor, b: Tensor) -> Tensor:
        types = [each.dtype for each in (a, b) if isinstance(each, Tensor) and each.is_floating_point()]
        return compare(a, b).to(types[0] if types else torch.get_default_dtype())

    mask.__name__ = mask.__qualname__ = name
    mask.__doc__ = f"a {sign} b as 1 and 0, in the type of the floating-point numbers among the two."
    return op(name, range=constant_interval(UNIT), stops_gradient=True)(mask)


_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!="}
gt, ge, lt, le, eq, ne = (_comparison(name, sign) for name, sign in _SIGNS.items())
