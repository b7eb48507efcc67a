"""Whether a kernel gives what its reference gives: values, gradients, types, the same bits twice.

The kernel runs on inputs of the row's dtype and layout, the reference in float64 on the same numbers. While the kernel
runs, new memory is full of NaN, and so is the memory between strided elements: what it forgets to write, or reads
by mistake, shows.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from .entry import Entry, Layout, Row

Inputs = dict[str, Tensor | None]


@dataclass(frozen=True, slots=True)
class Error:
    """How far a tensor is off.

    `relative` is ||found - right|| / ||right||, `largest` is max|found - right| / max|right|.
    """

    relative: float
    largest: float

    def within(self, limit: "Error") -> bool:
        """Whether both are at most the limit's; NaN is not."""
        return self.relative <= limit.relative and self.largest <= limit.largest


# A fused kernel computes in float32 and rounds once, when it stores; a gradient may be rounded a second time, if
# forward kept something for it in the input's type. One rounding costs at most u = 2^-8 of a value in bfloat16 and
# 2^-11 in float16, so 2 u is allowed, and for one element slightly more; a kernel that rounds after each of its steps
# fails. In float32 and float64 what counts is the order of sums: some tens of roundings of 2^-24 and 2^-53.
TOLERANCES: Mapping[torch.dtype, Error] = {
    torch.float64: Error(relative=1e-13, largest=1e-12),
    torch.float32: Error(relative=2e-6, largest=1e-5),
    torch.float16: Error(relative=2 * 2**-11, largest=2.2 * 2**-11),
    torch.bfloat16: Error(relative=2 * 2**-8, largest=2.2 * 2**-8),
}
_ZERO = 1e-9  # a float64 reference this small beside the incoming gradient is zero: what is left of a cancelled sum
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


@dataclass(frozen=True, slots=True)
class Agreement:
    """What came of one row. `errors` holds `output`, `gradient of x` and so on; `message` says why it did not pass."""

    row: Row
    errors: Mapping[str, Error] = field(default_factory=dict)
    message: str = ""

    @property
    def passed(self) -> bool:
        """Whether everything agreed."""
        return not self.message


def prepare(entry: Entry, row: Row, device: torch.device | str, seed: int = 0) -> Inputs:
    """The inputs of a row: rounded to its dtype, in its layout, as leaves that take gradients."""
    made = entry.inputs(row, torch.Generator().manual_seed(seed))
    return {name: None if x is None else _leaf(x, row, device) for name, x in made.items()}


def check(entry: Entry, row: Row, device: torch.device | str, impl: str = "triton") -> Agreement:
    """Compare the kernel with its reference on one row, and with itself."""
    inputs = prepare(entry, row, device)
    exact = {name: None if x is None else _exact(x) for name, x in inputs.items()}
    right = entry.kernel.function(**exact, **row.options, impl="reference")
    upstream = _upstream(right, row)
    expected = _results(right, exact, upstream)
    runs = []
    for _ in range(2):
        with poisoned():
            runs.append(_results(entry.kernel.function(**inputs, **row.options, impl=impl), inputs, upstream))
    found, again = runs

    errors, problems = _compared(found, expected, _units(exact, upstream))
    output = found["output"]
    if output is not None and output.dim() and output.dtype is not row.dtype:  # one number may be of a wider dtype
        problems.append(f"output is {output.dtype}, not {row.dtype}")
    problems += [f"{name} differs from run to run" for name in found if not _same(found[name], again[name])]
    return Agreement(row, errors, "; ".join(problems))


def _upstream(output: Tensor, row: Row) -> Tensor:
    """A random gradient of the output, in the row's dtype and layout."""
    noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return laid_out(noise.to(output.device, row.dtype), row.layout, len(row.shape))


def _leaf(x: Tensor, row: Row, device: torch.device | str) -> Tensor:
    if not x.is_floating_point():
        return x.to(device)
    return laid_out(x.to(device, row.dtype), row.layout, len(row.shape)).detach().requires_grad_()


def _exact(x: Tensor) -> Tensor:
    return x.detach().double().contiguous().requires_grad_() if x.is_floating_point() else x


def laid_out(x: Tensor, layout: Layout, rank: int) -> Tensor:
    """The same numbers in another layout, if the tensor has the main input's rank or three dimensions and more."""
    if layout == "contiguous" or x.dim() == 0 or (x.dim() != rank and x.dim() < 3):
        return x
    if layout == "channels_last":
        return x.contiguous(memory_format=_CHANNELS_LAST.get(x.dim(), torch.contiguous_format))
    ends = {0, x.dim() - 1}
    larger = x.new_full([size * (1 + (d in ends)) for d, size in enumerate(x.shape)], torch.nan)
    return larger[tuple(slice(None, None, 1 + (d in ends)) for d in range(x.dim()))].copy_(x)


def _results(output: Tensor, inputs: Inputs, upstream: Tensor) -> dict[str, Tensor | None]:
    """The output and the gradient of each input, by name; the output alone if its shape is not the reference's."""
    if output.shape != upstream.shape:
        return {"output": output.detach()}
    leaves = {name: x for name, x in inputs.items() if x is not None and x.requires_grad}
    gradients = torch.autograd.grad(output, list(leaves.values()), upstream.to(output.dtype), allow_unused=True)
    named = {f"gradient of {name}": g for name, g in zip(leaves, gradients, strict=True)}
    return {"output": output.detach(), **named}


def _units(exact: Inputs, upstream: Tensor) -> dict[str, Tensor]:
    """What a tensor is measured by where its reference is zero: the main input, or the incoming gradient."""
    main = next(x for x in exact.values() if x is not None)
    return {"output": main.detach(), **{f"gradient of {name}": upstream.double() for name in exact}}


def _compared(
    found: Mapping[str, Tensor | None], right: Mapping[str, Tensor | None], units: Mapping[str, Tensor]
) -> tuple[dict[str, Error], list[str]]:
    """The error of each tensor, and sentences on those that are too large."""
    errors, problems = {}, []
    for name, value in found.items():
        goal = right[name]
        if value is None or goal is None:
            if value is not goal:
                problems.append(f"{name} is {'missing' if value is None else 'none of the reference'}")
        elif value.shape != goal.shape:
            problems.append(f"{name} has shape {[*value.shape]}, not {[*goal.shape]}")
        else:
            errors[name] = error = _error(value, goal, units[name])
            if not error.within(limit := TOLERANCES[value.dtype]):
                problems.append(f"{name} is off by {_shown(error)}; {_shown(limit)} is allowed")
    return errors, problems


def _error(found: Tensor, right: Tensor, unit: Tensor) -> Error:
    """The error; `unit` is what it is relative to where the right values are zero."""
    if not right.numel():
        return Error(0.0, 0.0)
    unit = unit if unit.numel() and right.norm() <= _ZERO * unit.norm() else right
    limits = torch.finfo(found.dtype)
    smallest = limits.smallest_normal * limits.eps  # rounding may cost half of it, however small the value
    off = (found.double() - right).abs().sub(smallest / 2).clamp(min=0)
    tiny = torch.finfo(torch.float64).tiny
    relative, largest = off.norm() / unit.norm().clamp(min=tiny), off.max() / unit.abs().max().clamp(min=tiny)
    return Error(float(relative), float(largest))


def _shown(error: Error) -> str:
    return f"{error.relative:.1e} (largest element {error.largest:.1e})"


def _same(first: Tensor | None, second: Tensor | None) -> bool:
    """Bit by bit; NaN, which is a failure of its own, equals NaN."""
    if first is None or second is None:
        return first is second
    return torch.equal(torch.nan_to_num(first), torch.nan_to_num(second))


@contextmanager
def poisoned() -> Iterator[None]:
    """While it lasts, memory that PyTorch allocates without values is full of NaN, or of the largest integer."""
    originals = {name: getattr(torch, name) for name in ("empty", "empty_like", "empty_strided")}
    methods = {name: getattr(Tensor, name) for name in ("new_empty", "new_empty_strided")}
    for place, functions in ((torch, originals), (Tensor, methods)):
        for name, function in functions.items():
            setattr(place, name, _filled(function))
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(torch, name, function)
        for name in methods:
            delattr(Tensor, name)  # which inherits the original


def _filled(allocate: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @wraps(allocate)
    def allocated(*args: Any, **kwargs: Any) -> Tensor:
        made = allocate(*args, **kwargs)
        with torch.no_grad():
            if made.is_floating_point():
                return made.fill_(torch.nan)
            return made.fill_(1 if made.dtype is torch.bool else torch.iinfo(made.dtype).max)

    return allocated
