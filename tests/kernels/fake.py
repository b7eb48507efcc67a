"""An operation that stands for a kernel, scale * x**2, and what can be wrong with one."""

from collections.abc import Callable
from itertools import count
from typing import Any

import torch
from torch import Tensor

from gangraph.benchmarks.entry import Entry, Row
from gangraph.kernels import Kernel, Pattern, Step

FAULTS = {
    "value": "output is off by",
    "gradient": "gradient of x is off by",
    "small gradient": "gradient of scale is off by",
    "nan": "output is off by nan",
    "unwritten element": "output is off by nan",
    "unwritten gradient": "gradient of x is off by nan",
    "read between elements": "gradient of scale is off by nan",
    "no gradient": "gradient of scale is missing",
    "shape": "output has shape [2, 3, 4, 6], not [2, 3, 4, 5]",
    "type": "output is torch.float64, not torch.float32",
    "random": "output differs from run to run",
}
ROWS = (
    Row("plain", (2, 3, 4, 5), layout="strided"),
    Row("16 bits", (2, 3, 4, 5), torch.bfloat16, "channels_last"),
)
TIMED = (Row("small", (1, 3, 8, 8)), Row("large", (4, 3, 64, 64), options={"power": 2}))
_COUNT = count()


class _Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, fault: str) -> Tensor:
        ctx.save_for_backward(x, scale)
        ctx.fault = fault
        output = torch.empty_like(x)
        written = slice(None, -1 if fault == "unwritten element" else None)
        output[..., written] = (scale.double() * x.double() ** 2)[..., written].to(x.dtype)
        match fault:
            case "value":
                output += 0.1 * output[:1, :1, :1, :1]
            case "nan":
                output[0, 0, 0, 0] = torch.nan
            case "shape":
                return torch.cat([output, output[..., :1]], -1)
            case "type":
                return output.double()
            case "random":
                output *= 1 + 3e-7 * (next(_COUNT) % 2)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, scale = ctx.saved_tensors
        dx = x.new_empty(x.shape)
        if ctx.fault != "unwritten gradient":
            dx.copy_(2 * scale.double() * x * gradient * (1.001 if ctx.fault == "gradient" else 1))
        if ctx.fault == "no gradient":
            return dx, None, None
        if ctx.fault == "read between elements":
            x = x.as_strided(x.shape, [1] * x.dim())
        dscale = (gradient.double() * x.double().square()).sum()
        return dx, (dscale * (1 + 1e-4 * (ctx.fault == "small gradient"))).to(scale.dtype), None


def entry(fault: str = "", rows: tuple[Row, ...] = ROWS) -> Entry:
    """The operation with its cases; `fault` is one of `FAULTS`."""
    function = _function(fault)
    pattern = Pattern((Step("square"), Step("multiply", {"scale": "scale"}, optional=True)), given={"power": 2})
    return Entry(
        kernel=Kernel(function=function, order=1, patterns=(pattern,)),
        inputs=_inputs,
        rows=rows,
        timed=TIMED,
        traffic=lambda row, backward: 2 * (1 + backward) * row.dtype.itemsize * torch.Size(row.shape).numel(),
    )


def _function(fault: str) -> Callable[..., Tensor]:
    def squared(x: Tensor, scale: Tensor, shift: Tensor | None = None, power: int = 2, *, impl: str = "auto") -> Tensor:
        """scale * x**2, as | a fake."""
        assert shift is None
        if impl == "reference":
            return scale * x**power
        result: Tensor = _Squared.apply(x, scale, fault)
        return result

    return squared


def _inputs(row: Row, generator: torch.Generator) -> dict[str, Tensor | None]:
    x = torch.randn(row.shape, generator=generator, dtype=torch.float64)
    return {"x": x, "scale": torch.tensor(1.5, dtype=torch.float64), "shift": None}
