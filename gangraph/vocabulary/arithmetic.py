"""The ops that operators stand for: arithmetic and comparisons."""

import math
import operator
from collections.abc import Callable

import torch
from torch import Tensor

from gangraph.registry import op
from gangraph.vocabulary.intervals import UNIT, Interval, always


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


def _mask(compare: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """1 where a comparison is true and 0 where it is not, in the type of the floating-point numbers among the two."""
    types = [each.dtype for each in (a, b) if isinstance(each, Tensor) and each.is_floating_point()]
    return compare(a, b).to(types[0] if types else torch.get_default_dtype())


@op("gt", range=always(UNIT), stops_gradient=True)
def greater(a: Tensor, b: Tensor) -> Tensor:
    """a > b as 1 and 0."""
    return _mask(operator.gt, a, b)


@op("ge", range=always(UNIT), stops_gradient=True)
def at_least(a: Tensor, b: Tensor) -> Tensor:
    """a >= b as 1 and 0."""
    return _mask(operator.ge, a, b)


@op("lt", range=always(UNIT), stops_gradient=True)
def less(a: Tensor, b: Tensor) -> Tensor:
    """a < b as 1 and 0."""
    return _mask(operator.lt, a, b)


@op("le", range=always(UNIT), stops_gradient=True)
def at_most(a: Tensor, b: Tensor) -> Tensor:
    """a <= b as 1 and 0."""
    return _mask(operator.le, a, b)


@op("eq", range=always(UNIT), stops_gradient=True)
def equal(a: Tensor, b: Tensor) -> Tensor:
    """a == b as 1 and 0."""
    return _mask(operator.eq, a, b)


@op("ne", range=always(UNIT), stops_gradient=True)
def unequal(a: Tensor, b: Tensor) -> Tensor:
    """a != b as 1 and 0."""
    return _mask(operator.ne, a, b)
