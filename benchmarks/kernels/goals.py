"""What a kernel should reach, and where it does not."""

from collections.abc import Iterator
from dataclasses import dataclass

from .results import Results
from .timing import Measured

LARGE = 64_000_000  # bytes moved, from where on the time is that of memory and no longer that of the launch
SHARE = {False: 0.90, True: 0.85}  # of the bandwidth of a copy: forward, and forward with backward
EPILOGUE, EPILOGUE_GAIN = "style_epilogue", 3.0  # times as fast as plain PyTorch
NOISE = 1.02  # slower than torch.compile by less than this is no slower


@dataclass(frozen=True, slots=True)
class Miss:
    """A goal that a row does not reach."""

    measured: Measured
    goal: str
    found: str


def misses(results: Results) -> tuple[Miss, ...]:
    """Every goal that is missed, in the order of the rows."""
    return tuple(miss for each in results.timings for miss in _misses(each, results.bandwidth))


def _misses(each: Measured, bandwidth: float) -> Iterator[Miss]:
    share, least = each.bandwidth("kernel") / bandwidth, SHARE[each.backward]
    if each.traffic >= LARGE and share < least:
        yield Miss(each, f"{least:.0%} of the bandwidth of a copy", f"{share:.0%}")
    slower = each.timings["kernel"].median / each.timings["compiled"].median
    if slower > NOISE:
        yield Miss(each, "never slower than torch.compile", f"{slower:.2f} times its time")
    gain = each.timings["eager"].median / each.timings["kernel"].median
    if each.kernel == EPILOGUE and gain < EPILOGUE_GAIN:
        yield Miss(each, f"{EPILOGUE_GAIN:g} times as fast as plain PyTorch", f"{gain:.1f} times")
