"""A picture as a self-contained SVG that reads on light and on dark."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from gangraph.views.drawing.picture import MARGIN, MONO, NARROWEST, UNKNOWN, Chip, Figure, Picture, chip_width
from gangraph.views.printers.text import lines_of

# The palette of Okabe and Ito, darkened until white text stands out; the second of a pair is for lines on black.
HUES = (
    ("#0072B2", "#56B4E9"), ("#C65102", "#F58B4C"), ("#00805C", "#2FC79A"), ("#A33C7E", "#E08CC0"),
    ("#86690B", "#E3B93C"), ("#5A4FB3", "#A79FF0"), ("#9C2F3F", "#F07C8A"), ("#5B6770", "#A9B5BE"),
)  # fmt: skip
WORDS = {"stream": "data", "random": "random draw", "state": "state, kept between steps",
         "call": "network and its value", "op": "operation",
         "stop": "gradients stop here", "loss": "loss", "update": "update"}  # fmt: skip
LIGHT = """
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:#18212d}
.m{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.b{font-weight:700}.soft{fill:#5c6878}.on{fill:#fff}.bg{fill:#fff}.rule{stroke:#d6dce4}
.wire{fill:none;stroke-width:1.8;stroke-linecap:round}.halo{fill:none;stroke:#fff;stroke-width:6}
.stream{fill:#e6ebf2;stroke:#66758a}.random{fill:#fff;stroke:#66758a}.op{fill:#fff;stroke:#8591a1}
.state{fill:#fff;stroke:#66758a;stroke-width:1.8}.turn{fill:none;stroke:#66758a;stroke-width:1.6}
.stop{fill:#fff;stroke:#8591a1;stroke-dasharray:4 3}.loss{fill:#fdf3d0;stroke:#a07f1c}.update{fill:#fff;stroke:#18212d}
.part{fill:#fff;stroke:#0072B2}.pip{fill:#66758a}.badge{fill:#18212d}.badged{fill:#fff}
.lo{stroke:#7b8797}.ao{fill:#7b8797}.lx{stroke:#3d4a5c}.ax{fill:#3d4a5c}.ly{stroke:#98a5b5}.ay{fill:#98a5b5}
.lz{stroke:#6d7a8b}.az{fill:#6d7a8b}.dashed{stroke-dasharray:5 4;stroke-linecap:butt}
"""
DARK = """
text{fill:#e7ecf3}.soft{fill:#9dabbb}.on{fill:#fff}.bg{fill:#10151c}.rule{stroke:#2b3542}.halo{stroke:#10151c}
.stream{fill:#232e3b;stroke:#91a2b8}.random,.state,.op,.stop,.part{fill:#10151c;stroke:#91a2b8}
.loss{fill:#2d2712;stroke:#cba93a}.update{fill:#19212b;stroke:#e7ecf3}.pip{fill:#91a2b8}.turn{stroke:#91a2b8}.badge{fill:#e7ecf3}
.badged{fill:#10151c}.lo{stroke:#8d9aab}.ao{fill:#8d9aab}.lx{stroke:#d3dce8}.ax{fill:#d3dce8}.ly{stroke:#76859a}.ay{fill:#76859a}
.lz{stroke:#a3b0c1}.az{fill:#a3b0c1}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stands around a picture."""

    title: str
    subtitle: str
    about: str
    networks: tuple[tuple[Chip, str], ...] = ()
    schedule: tuple[str, ...] = ()


def document(picture: Picture, frame: Frame) -> str:
    """A picture with its title, legend and schedule as one SVG document."""
    layout = picture.layout
    words = max(_sans_width(frame.title, 26), _sans_width(frame.subtitle, 14))
    width = max(max(layout.width, words) + 2 * MARGIN, NARROWEST)
    top = MARGIN + 30 * bool(frame.title) + 22 * bool(frame.subtitle) + 14
    body = [_text(MARGIN, MARGIN + 16, frame.title, 24, "b")]
    body += [_text(MARGIN, MARGIN + 12 + 28 * bool(frame.title), frame.subtitle, 14, "soft")]
    body += [f'<g transform="translate({(width - layout.width) / 2:.1f} {top:g})">', *_wires(picture)]
    body += [_figure(picture, name) for name in picture.figures] + ["</g>"]
    legend, y = (
        _legend(picture, frame, width, top + layout.height + 34) if frame.networks else ([], top + layout.height)
    )
    schedule, y = _schedule_lines(frame.schedule, width, y)
    size = f'width="{width:.1f}" height="{y + 24:.1f}" viewBox="0 0 {width:.1f} {y + 24:.1f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title about">'
    title = f'<title id="title">{escape(frame.title or "Data flow")}</title>'
    about = f'<desc id="about">{escape(frame.about)}</desc>'
    ground = f'<style>{_style()}</style>\n<rect class="bg" width="100%" height="100%"/>'
    return "\n".join(part for part in (head, title, about, ground, *body, *legend, *schedule, "</svg>") if part) + "\n"


def _style() -> str:
    light = "".join(
        f".h{i},.a{i}{{fill:{hue}}}.l{i}{{stroke:{hue}}}.t{i}{{fill:{hue};fill-opacity:.12;stroke:{hue}}}"
        for i, (hue, _) in enumerate(HUES)
    )
    dark = "".join(
        f".a{i}{{fill:{hue}}}.l{i}{{stroke:{hue}}}.t{i}{{fill-opacity:.35;stroke:{hue}}}"
        for i, (_, hue) in enumerate(HUES)
    )
    return f"{LIGHT}{light}\n@media (prefers-color-scheme:dark){{{DARK}{dark}}}"


def _schedule_lines(schedule: Sequence[str], width: float, y: float) -> tuple[list[str], float]:
    if not schedule:
        return [], y
    letters = int((width - 2 * MARGIN) / 7.2)
    lines = [line for entry in schedule for line in lines_of(entry, letters, "   ")]
    drawn = [_text(MARGIN, y + 18, "Every step, in this order", 13, "b")]
    for i, line in enumerate(lines):
        drawn.append(_text(MARGIN + 16 * line.startswith(" "), y + 40 + 20 * i, line.strip(), 13))
    return drawn, y + 40 + 20 * len(lines)


def _wires(picture: Picture) -> Iterator[str]:
    """The wires of each source over a halo, so that they pass over those drawn before like bridges."""
    lines: dict[str, str] = {}
    tips: dict[str, str] = {}
    for wire in picture.layout.wires:
        p = [f"{x:.1f} {y:.1f}" for x, y in wire.points]
        lines[wire.source] = lines.get(wire.source, "") + f"M{p[0]}L{p[1]}C{p[2]} {p[3]} {p[4]}L{p[5]}"
        tip = f"M{p[5]}l-4 -7h8z" if picture.down else f"M{p[5]}l-7 -4v8z"
        tips[wire.source] = tips.get(wire.source, "") + (tip if wire.target else "")
    for source, path in lines.items():
        strand, dashed = picture.strand(source), " dashed" * picture.stopped(source)
        yield f'<path class="halo" d="{path}"/><path class="wire l{strand}{dashed}" d="{path}"/>'
        yield f'<path class="a{strand}" d="{tips[source]}"/>'


def _figure(picture: Picture, name: str) -> str:
    figure, box = picture.figures[name], picture.layout.boxes[name]
    shapes = {"stream": _source, "random": _source, "state": _source, "call": _call, "op": _pill, "stop": _pill}
    shape = shapes.get(figure.kind) or {"loss": _loss, "part": _part, "update": _update}[figure.kind]
    tip = f"<title>{escape(figure.tip)}</title>" if figure.tip else ""
    return f'<g transform="translate({box.x:.1f} {box.y:.1f})">{tip}{shape(figure, box.width, box.height)}</g>'


def _source(figure: Figure, w: float, h: float) -> str:
    icon = {"random": _dice, "state": _turn}.get(figure.kind, _stack)(16, h / 2 - 8)
    name = _text(40, h / 2 + (-2 if figure.lines else 5), figure.name, 14, "m b")
    caption = "".join(_text(40, h / 2 + 13, line, 11, "m soft") for line in figure.lines)
    return _rect(0, 0, w, h, h / 2, figure.kind) + icon + name + caption


def _call(figure: Figure, w: float, h: float) -> str:
    value = _rect(0, 0, w, h, 7, f"t{figure.hue}") + _text(figure.split + 9, h / 2 + 4.5, figure.name, 12.5, "m")
    head = _rect(0, 0, figure.split, h, 7, f"h{figure.hue}") + _text(12, h / 2 + 5, figure.head, 14, "m b on")
    return value * bool(figure.name) + head


def _pill(figure: Figure, w: float, h: float) -> str:
    name = _text(figure.split - 2, h / 2 + 4, figure.name, 12, "m")
    return _rect(0, 0, w, h, h / 2, figure.kind) + _text(10, h / 2 + 4, figure.head, 11.5, "m soft") + name


def _loss(figure: Figure, w: float, h: float) -> str:
    path = f"M4 0H{w - 16:.1f}L{w:.1f} {h / 2:.1f}L{w - 16:.1f} {h:.1f}H4Q0 {h:.1f} 0 {h - 4:.1f}V4Q0 0 4 0Z"
    tag = f'<path class="loss" stroke-width="1.5" d="{path}"/>'
    return tag + _text(14, 21, figure.name, 14, "m b") + _lines(figure, 14, 39)


def _part(figure: Figure, w: float, h: float) -> str:
    value = f"→ {figure.name}" if figure.name else ""
    after = _text(28 + len(figure.head) * MONO * 12.5, 20, value, 11, "m soft")
    return _rect(0, 0, w, h, 7, figure.kind) + _text(14, 20, figure.head, 12.5, "m b") + after + _lines(figure, 14, 38)


def _update(figure: Figure, w: float, h: float) -> str:
    number = f"{figure.number}"
    badge = '<circle class="badge" cx="24" cy="24" r="11"/>' + _text(
        24 - 4 * len(number), 28.5, number, 12.5, "b badged"
    )
    x, chips = 68.0, _text(15, h - 16, "updates", 11, "soft") if figure.chips else ""
    for chip in figure.chips:
        chips += _chip(x, h - 30, chip)
        x += chip_width(chip[0]) + 6
    return (
        _rect(0, 0, w, h, 9, "update") + badge + _text(42, 29, figure.name, 14, "m b") + _lines(figure, 15, 51) + chips
    )


def _lines(figure: Figure, x: float, y: float) -> str:
    indents = [len(line) - len(line.lstrip()) for line in figure.lines]
    placed = zip(indents, figure.lines, strict=True)
    return "".join(_text(x + MONO * 11 * k, y + 15 * i, line.strip(), 11, "m") for i, (k, line) in enumerate(placed))


def _legend(picture: Picture, frame: Frame, width: float, y: float) -> tuple[list[str], float]:
    """What the shapes and colours mean, in as many rows as it takes, and where it ends."""
    kinds = {figure.kind for figure in picture.figures.values()}
    rows = [[(_chip(0, 0, chip), chip_width(chip[0]), made) for chip, made in frame.networks]]
    rows += [[(_glyph(kind), 30.0, word) for kind, word in WORDS.items() if kind in kinds]]
    parts = []
    for row in rows:
        x = MARGIN
        for glyph, glyph_width, word in row:
            space = glyph_width + 8 + _sans_width(word, 13) + 22
            if x > MARGIN and x + space > width - MARGIN + 22:
                x, y = MARGIN, y + 28
            label = _text(glyph_width + 8, 14.5, word, 13, "soft")
            parts.append(f'<g transform="translate({x:.1f} {y:.1f})">{glyph}{label}</g>')
            x += space
        y += 28
    return parts, y + 6


def _glyph(kind: str) -> str:
    match kind:
        case "call":
            return _rect(0, 2, 30, 16, 4, f"t{UNKNOWN}") + _rect(0, 2, 15, 16, 4, f"h{UNKNOWN}")
        case "loss":
            return '<path class="loss" stroke-width="1.3" d="M0 2H20L28 10L20 18H0Z"/>'
        case "random":
            return _rect(0, 2, 28, 16, 8, kind) + _dice(8.5, 4.5, 11)
        case "state":
            return _rect(0, 2, 28, 16, 8, kind) + _turn(8.5, 4.5, 11)
    return _rect(0, 2, 28, 16, 4 if kind == "update" else 8, kind)


def _sans_width(text: str, size: float) -> float:
    return size * sum(0.34 if c in "fijlrtI.,;:|()' " else 0.92 if c in "mwMW" else 0.62 for c in text)


def _chip(x: float, y: float, chip: Chip) -> str:
    """The name of a network on its hue; one without a hue looks as an op does."""
    name, hue = chip
    if hue == UNKNOWN:
        return _rect(x, y, chip_width(name), 20, 10, "op") + _text(x + 7, y + 14, name, 12, "m soft")
    return _rect(x, y, chip_width(name), 20, 5, f"h{hue}") + _text(x + 7, y + 14, name, 12, "m b on")


def _dice(x: float, y: float, size: float = 16) -> str:
    pips = "".join(f'<circle class="pip" cx="{x + size * a:.1f}" cy="{y + size * b:.1f}" r="{size * 0.09:.1f}"/>'
                   for a, b in ((0.27, 0.27), (0.73, 0.27), (0.5, 0.5), (0.27, 0.73), (0.73, 0.73)))  # fmt: skip
    return _rect(x, y, size, size, size / 5, "random") + pips


def _turn(x: float, y: float, size: float = 16) -> str:
    """An arrow that turns back on itself."""
    r, end = 0.38 * size, f"{x + 0.88 * size:.1f} {y + 0.5 * size:.1f}"
    a, b, c = (f"{share * size:.1f}" for share in (0.24, 0.06, 0.36))
    circle = f'<path class="turn" d="M{x + 0.5 * size:.1f} {y + 0.12 * size:.1f}A{r:.1f} {r:.1f} 0 1 0 {end}"/>'
    return circle + f'<path class="pip" d="M{end}m0 {b}l-{a} 0l{a} -{c}l{a} {c}z"/>'


def _stack(x: float, y: float) -> str:
    return "".join(_rect(x + 4 - 4 * i, y + 4 * i, 12, 8, 1.5, "stream") for i in range(3))


def _rect(x: float, y: float, width: float, height: float, radius: float, style: str) -> str:
    return (
        f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:.1f}"/>'
    )


def _text(x: float, y: float, text: str, size: float, style: str = "") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" font-size="{size:g}">{escape(text)}</text>' if text else ""
