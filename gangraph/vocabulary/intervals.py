"""What an op can give, as functions of the least and the greatest number of each of its inputs."""

import math
from collections.abc import Callable

Interval = tuple[float, float]
UNIT, TANH, POSITIVE = (0.0, 1.0), (-1.0, 1.0), (0.0, math.inf)


def constant_interval(interval: Interval) -> Callable[..., Interval]:
    """One interval, whatever the inputs are."""
    return lambda *_: interval


def same(first: Interval, *_: Interval) -> Interval:
    """The interval of the first input."""
    return first


def with_zero(first: Interval, *_: Interval) -> Interval:
    """The interval of the first input, and 0."""
    return min(first[0], 0.0), max(first[1], 0.0)


def hull(*inputs: Interval) -> Interval:
    """The least interval with those of all inputs in it."""
    return min(low for low, _ in inputs), max(high for _, high in inputs)


def monotone(function: Callable[[float], float]) -> Callable[..., Interval]:
    """What a function that never falls makes of the interval of the first input."""
    return lambda first, *_: (function(first[0]), function(first[1]))


def clamped(x: Interval, low: Interval, high: Interval) -> Interval:
    """The interval of x, cut at its limits."""
    return min(max(x[0], low[0]), high[0]), min(max(x[1], low[1]), high[1])
