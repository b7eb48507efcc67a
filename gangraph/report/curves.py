"""Curves as small SVG panels: seeds as thin lines, their range as a band, their mean as a line with its last value."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from gangraph.report.numbers import number_text
from gangraph.report.reading import Points

WIDTH, HEIGHT = 340.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 56.0, 12.0, 24.0
_BINS = 120
_LETTERS = 8  # of a label, for which there is room left of a frame
_FAR = 4  # a range that the outer hundredths of the values make this many times longer is cut there
_NARROWEST = 1e-3  # of the values: a smaller range than this would be all noise
_WIDE = 8  # positive values whose ratio exceeds this are drawn on a logarithmic scale

Line = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """From steps and values to pixels. All panels of one quantity share a scale."""

    steps: float
    low: float
    high: float
    logarithmic: bool

    def x(self, step: float) -> float:
        """Pixels from the left."""
        return LEFT + (WIDTH - LEFT - RIGHT) * (step / self.steps if self.steps else 0.0)

    def y(self, value: float) -> float:
        """Pixels from the top; values beyond the frame stand on its edge."""
        low, high, at = map(self._bent, (self.low, self.high, min(max(value, self.low), self.high)))
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (at - low) / (high - low))

    def _bent(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """At most six round values inside the frame, with their labels."""
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            factors = (1,) if self.high / self.low > 100 else (1, 2, 5)
            inside = [f * 10.0**k for k in powers for f in factors if self.low <= f * 10.0**k <= self.high]
            return tuple((value, number_text(value)) for value in inside[:: -(-len(inside) // 6)])
        rough = (self.high - self.low) / 4
        size = 10 ** math.floor(math.log10(rough))
        step = size * next(factor for factor in (1, 2, 5, 10) if factor * size >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-6), math.floor(self.high / step + 1e-6)
        digits = max(0, -math.floor(math.log10(step) + 1e-6))
        return tuple((i * step, _labelled(i * step, digits)) for i in range(first, last + 1))


def _labelled(value: float, digits: int) -> str:
    """A value with so many decimals, or in scientific notation where that takes too much room."""
    text = f"{value:,.{digits}f}".replace("-", "\u2212")
    return text if len(text) <= _LETTERS else number_text(value)


@dataclass(frozen=True, slots=True)
class Panel:
    """One quantity of one run or variant as SVG; `title` stands above it, with a `note` on seeds that ended early."""

    title: str
    svg: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """The panels of one quantity, on one scale; `cut` says whether values lie beyond the frame."""

    name: str
    panels: tuple[Panel, ...]
    logarithmic: bool
    cut: bool


def chart(name: str, seeds: Mapping[str, Sequence[Points]]) -> Chart:
    """Small multiples of a quantity: a panel for every variant, with the points of each of its seeds."""
    lines = {variant: tuple(binned(points, _last(seeds.values())) for points in every if points)
             for variant, every in seeds.items()}  # fmt: skip
    lines = {variant: every for variant, every in lines.items() if every}
    values = [value for every in lines.values() for line in every for _, value in line]
    scale = _scale(values, _last(seeds.values()))
    panels = tuple(
        Panel(variant, _panel(name, variant, every, scale), _ended(every)) for variant, every in lines.items()
    )
    return Chart(name, panels, scale.logarithmic, min(values) < scale.low or max(values) > scale.high)


def _last(every: Iterable[Sequence[Points]]) -> float:
    return max((points[-1][0] for group in every for points in group if points), default=0)


def binned(points: Points, steps: float) -> Line:
    """Means over equal intervals of training: as many points as a panel can show. The last point is kept as it is."""
    bins: dict[int, list[tuple[int, float]]] = {}
    for step, value in points[:-1]:
        bins.setdefault(int(step / max(steps, 1) * _BINS), []).append((step, value))
    means = [tuple(statistics.fmean(column) for column in zip(*bins[i], strict=True)) for i in sorted(bins)]
    return (*((step, value) for step, value in means), points[-1])


def _scale(values: Sequence[float], steps: float) -> Scale:
    ordered = sorted(values)
    inner = ordered[len(ordered) // 100], ordered[-1 - len(ordered) // 100]
    low, high = ordered[0], ordered[-1]
    logarithmic = low > 0 and high / low > _WIDE
    if not logarithmic and high - low > _FAR * (inner[1] - inner[0]) > 0:
        low, high = inner
    least = _NARROWEST * max(abs(low), abs(high))
    if high - low <= least:
        low, high = low - (least or 1), high + (least or 1)
    room = (high / low) ** 0.04 if logarithmic else (high - low) * 0.04
    low, high = (low / room, high * room) if logarithmic else (low - room, high + room)
    return Scale(steps=steps, low=low, high=high, logarithmic=logarithmic)


def averaged(lines: Sequence[Line]) -> tuple[tuple[float, float, float, float], ...]:
    """Step, mean, lowest and highest at every point of any seed, over the seeds whose own points reach around it."""
    found = []
    for step in sorted({step for line in lines for step, _ in line}):
        values = [_at(line, step) for line in lines if line[0][0] <= step <= line[-1][0]]
        found.append((step, statistics.fmean(values), min(values), max(values)))
    return tuple(found)


def _ended(lines: Sequence[Line]) -> str:
    """Which seeds end early, so that the mean leaves them out from there on; empty if all end at one step."""
    ends = [line[-1][0] for line in lines]
    early = sorted(end for end in ends if end < max(ends))
    if not early:
        return ""
    steps = ", ".join(f"{end:,.0f}" for end in dict.fromkeys(early))
    return f"{len(early)} of {len(lines)} seeds ended early, at step {steps}"


def _at(line: Line, step: float) -> float:
    """The value of a line at a step between its first and its last."""
    after = next(i for i, (at, _) in enumerate(line) if at >= step)
    (b, high), (a, low) = line[after], line[max(0, after - 1)]
    return high if step == b else low + (high - low) * (step - a) / (b - a)


def _panel(name: str, variant: str, lines: Sequence[Line], scale: Scale) -> str:
    mean = averaged(lines)
    drawn = [*_frame(scale)]
    if len(lines) > 1:
        edge = [(x, high) for x, _, _, high in mean] + [(x, low) for x, _, low, _ in reversed(mean)]
        drawn.append(f'<path class="band" d="{_path(edge, scale)}Z"/>')
        drawn += [f'<path class="seed" d="{_path(line, scale)}"/>' for line in lines]
    drawn.append(f'<path class="mean" d="{_path([(x, y) for x, y, *_ in mean], scale)}"/>')
    step, value, *_ = mean[-1]
    drawn.append(f'<circle class="end" cx="{scale.x(step):.1f}" cy="{scale.y(value):.1f}" r="2.6"/>')
    drawn.append(_label(scale.x(step) + 6, scale.y(value) + 4, number_text(value), "last"))
    of = f" of {variant}" if variant and variant != name else ""
    over = f", mean of {len(lines)} seeds" if len(lines) > 1 else ""
    over += f"; {ended}" if (ended := _ended(lines)) else ""
    first, last = (f"{number_text(point[1])} at step {point[0]:,.0f}" for point in (mean[0], mean[-1]))
    about = f"{name}{of} over training: {first}, {last}{over}"
    head = f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(about)}">'
    return "".join((head, *drawn, "</svg>"))


def _frame(scale: Scale) -> Iterable[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for tick, label in scale.ticks:
        y = scale.y(tick)
        yield f'<path class="rule" d="M{LEFT:g} {y:.1f}H{right:g}"/>'
        yield _label(LEFT - 6, y + 4, label, "tick", "end")
    yield f'<path class="axis" d="M{LEFT:g} {bottom:g}H{right:g}"/>'
    yield _label(LEFT, bottom + 16, "0", "tick")
    yield _label(right, bottom + 16, f"{scale.steps:,.0f}", "tick", "end")
    yield _label((LEFT + right) / 2, bottom + 16, "step", "tick", "middle")


def _label(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _path(line: Iterable[tuple[float, float]], scale: Scale) -> str:
    return "M" + "L".join(f"{scale.x(step):.1f} {scale.y(value):.1f}" for step, value in line)
