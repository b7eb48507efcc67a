"""Numbers as a page shows them: with the digits that are significant."""

import math

MISSING = "–"
_DECIMALS = 6  # the mean is not rounded at a deviation that needs more


def number_text(value: float) -> str:
    """Four significant digits, with a true minus sign; large whole numbers in groups of three."""
    if abs(value) >= 10_000 and abs(value) < 1e9:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.4g}"
    return text.replace("-", "\u2212")


def deviating(mean: float | None, spread: float | None) -> str:
    """Mean ± standard deviation, rounded to two digits of the deviation; a dash where nothing was measured."""
    if mean is None:
        return MISSING
    if not spread or not math.isfinite(spread):
        return number_text(mean)
    digits = max(0, 1 - math.floor(math.log10(spread)))
    if digits > _DECIMALS:
        return f"{number_text(mean)} ± {spread:.2g}".replace("-", "\u2212")
    return f"{mean:,.{digits}f} ± {spread:,.{digits}f}".replace("-", "\u2212")


def duration(seconds: float) -> str:
    """A length of time in its two largest units."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
