"""Checks of the arguments of metrics; a message says what was found and what was expected.

Checks of shapes read no values, so the compiler runs them on tensors without storage; checks of values run when
a number is computed.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from gangraph.errors import nearest

_SLACK = 1e-3  # by how much a value may lie outside its range: less than a level of 8 bits


def shape(name: str, x: Tensor) -> tuple[int, ...]:
    """The shape of a metric's argument. Raises ValueError for a plain number."""
    if not isinstance(x, Tensor):
        raise ValueError(f"{name} is the number {x}, expected a value with one entry for each sample")
    return tuple(x.shape)


def alike(**pair: Tensor) -> None:
    """Refuse two values of different shapes. Raises ValueError."""
    (first, x), (second, y) = pair.items()
    if shape(first, x) != shape(second, y):
        raise ValueError(f"{first} is {list(x.shape)} and {second} {list(y.shape)}, expected one shape")


def dimensions(expected: str, **given: Tensor) -> None:
    """Refuse values whose number of dimensions is not that of `expected`, as in "N, D". Raises ValueError."""
    for name, x in given.items():
        if len(shape(name, x)) != expected.count(",") + 1:
            raise ValueError(f"{name} is {list(x.shape)}, expected [{expected}]")


def samples(least: int, **given: Tensor) -> None:
    """Refuse fewer samples than a metric can be computed from. Raises ValueError."""
    for name, x in given.items():
        count = shape(name, x)[0] if shape(name, x) else 0
        if count < least:
            raise ValueError(f"{name} has {_counted(count, 'sample')}, expected at least {least}")


def same_count(**given: Tensor) -> None:
    """Refuse values with different numbers of samples. Raises ValueError."""
    counts = {name: shape(name, x)[:1] for name, x in given.items()}
    if len(set(counts.values())) > 1 or () in counts.values():
        found = " and ".join(f"{name} {list(x.shape)}" for name, x in given.items())
        raise ValueError(f"{found}: expected the same number of samples")


def same_size(**pair: Tensor) -> None:
    """Refuse vectors [N, D] and [M, D] of different D. Raises ValueError."""
    dimensions("N, D", **pair)
    sizes = {name: x.shape[1] for name, x in pair.items()}
    if len(set(sizes.values())) > 1:
        found = " and ".join(f"{name} has {size}" for name, size in sizes.items())
        raise ValueError(f"{found} numbers a sample, expected as many")


def images(least: int = 1, border: int = 0, **given: Tensor) -> None:
    """Refuse what is not images [N, C, H, W] or clips [N, C, T, H, W] of a least size after a border is cut.

    Raises:
        ValueError: they are not.
    """
    for name, x in given.items():
        if len(shape(name, x)) not in (4, 5):
            raise ValueError(f"{name} is {list(x.shape)}, expected images [N, C, H, W] or clips [N, C, T, H, W]")
        if min(x.shape[-2:]) < least + 2 * border:
            cut = f" and a border of {border}" if border else ""
            raise ValueError(f"{name} is {x.shape[-2]} x {x.shape[-1]} px, expected at least {least}{cut}")


def colours(**given: Tensor) -> None:
    """Refuse images without three channels. Raises ValueError."""
    for name, x in given.items():
        if x.shape[1] != 3:
            hint = f"; cat({name}, {name}, {name}) gives them" if x.shape[1] == 1 else ""
            raise ValueError(f"{name} has {_counted(x.shape[1], 'channel')}, expected 3{hint}")


def positive(**given: float) -> None:
    """Refuse constants that are not above zero. Raises ValueError."""
    for name, number in given.items():
        if number <= 0:
            raise ValueError(f"{name} is {number}, expected a positive number")


def one_of(options: Iterable[str], **given: str) -> None:
    """Refuse a name that is not among the options. Raises ValueError."""
    options = tuple(options)
    for name, found in given.items():
        if found not in options:
            near = f"; {hint}" if (hint := nearest(found, options)) else ""
            raise ValueError(f"{name} is '{found}', expected one of {', '.join(options)}{near}")


def finite(**given: Tensor) -> None:
    """Refuse NaN and infinite values. Raises ValueError."""
    for name, x in given.items():
        if x.is_floating_point() and not (good := x.isfinite()).all():
            raise ValueError(f"{name} has {int((~good).sum())} values of {x.numel()} that are NaN or infinite")


def inside(low: float, high: float, **given: Tensor) -> None:
    """Refuse values outside of [low, high], NaN among them. Raises ValueError."""
    finite(**given)
    for name, x in given.items():
        least, most = (float(bound) for bound in x.aminmax())
        if least < low - _SLACK or most > high + _SLACK:
            found = f"{name} has values in [{least:.4g}, {most:.4g}], expected [{low:g}, {high:g}]"
            raise ValueError(f"{found}; clamp({name}, {low:g}, {high:g}) cuts what a network overshoots")


def integers(below: int | None = None, **given: Tensor) -> tuple[Tensor, ...]:
    """Labels as int64. Raises ValueError where one is no whole number, negative, or not below a number of classes."""
    finite(**given)
    for name, x in given.items():
        if x.is_floating_point() and not torch.equal(x, x.round()):
            raise ValueError(f"{name} has values that are not whole numbers, expected labels")
        if x.numel() and (x.min() < 0 or (below is not None and x.max() >= below)):
            expected = "0 or more" if below is None else f"0 to {below - 1}"
            raise ValueError(f"{name} has labels from {int(x.min())} to {int(x.max())}, expected {expected}")
    return tuple(x.long() for x in given.values())


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
