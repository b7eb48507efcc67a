"""What a picture is made of: boxes with their sizes, the edges between them, and where they stand."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from gangraph.views.drawing.arrange import arrange
from gangraph.views.drawing.layout import Layout

UNKNOWN = 7  # the hue of no network in particular: grey
Chip = tuple[str, int]  # a network and its hue
MONO = 0.605  # the width of a character, in font sizes
MARGIN, NARROWEST = 36.0, 780.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One box: what it shows, and its size."""

    kind: str
    head: str = ""
    name: str = ""
    lines: tuple[str, ...] = ()
    chips: tuple[Chip, ...] = ()
    number: int = 0
    hue: int | None = None
    tip: str = ""

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, from the text."""
        text = max((len(line) * MONO * 11 for line in self.lines), default=0.0)
        match self.kind:
            case "stream" | "random" | "state":
                return max(len(self.name) * MONO * 14, text) + 54, 46.0 if self.lines else 36.0
            case "call":
                return self.split + (len(self.name) * MONO * 12.5 + 20 if self.name else 0), 34.0
            case "op" | "stop":
                return self.split + (len(self.name) * MONO * 12 + 10 if self.name else 0), 26.0
            case "loss":
                return max(len(self.name) * MONO * 14, text) + 40, 34.0 + 15 * len(self.lines)
            case "part":
                title = len(self.head) * MONO * 12.5 + len(self.name) * MONO * 11 + 14
                return max(title, text, 90) + 28, 32.0 + 15 * len(self.lines)
        chips = sum(chip_width(name) + 6 for name, _ in self.chips) + 62
        return max(len(self.name) * MONO * 14 + 30, text, chips) + 30, 76.0 + 15 * len(self.lines)

    @property
    def rank(self) -> str:
        """Figures of the same rank get the same width, where they stand side by side."""
        return "source" if self.kind in ("stream", "random", "state") and self.lines else self.kind

    @property
    def split(self) -> float:
        """Where the head of a call or an op ends and the name of its value begins."""
        size, space = (14, 24) if self.kind == "call" else (11.5, 20)
        return len(self.head) * MONO * size + space


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Figures by id, the edges between them, and where they may stand."""

    figures: Mapping[str, Figure]
    edges: tuple[tuple[str, str], ...]
    late: frozenset[str] = frozenset()
    teams: Mapping[str, str] = field(default_factory=dict)
    down: bool = False

    @cached_property
    def layout(self) -> Layout:
        """Where everything stands."""
        sizes = {name: figure.size for name, figure in self.figures.items()}
        feeding = {source for source, target in self.edges if self.figures[target].kind != "update"}
        for rank in ("source", "loss", "update"):
            same = [
                name for name, f in self.figures.items() if f.rank == rank and (rank != "loss" or name not in feeding)
            ]
            widest = max((sizes[name][0] for name in same), default=0.0)
            sizes |= {name: (widest, sizes[name][1]) for name in same}
        return arrange(sizes, self.edges, late=self.late, teams=self.teams, down=self.down)

    def stopped(self, name: str) -> bool:
        """Whether no gradient flows back into what gives a value."""
        if self.figures[name].kind != "op":
            return self.figures[name].kind == "stop"
        sources = self._sources(name)
        return len(sources) == 1 and self.stopped(sources[0])

    def strand(self, name: str) -> str:
        """The colour of what a figure gives: its network's, its data's shade, or that of the one thing it changes."""
        figure = self.figures[name]
        if figure.hue is not None:
            return f"{figure.hue}"
        if figure.kind == "stream":
            return "xyz"[[n for n, f in self.figures.items() if f.kind == "stream"].index(name) % 3]
        sources = self._sources(name)
        return self.strand(sources[0]) if figure.kind in ("op", "stop") and len(sources) == 1 else "o"

    def _sources(self, name: str) -> list[str]:
        return [source for source, target in self.edges if target == name]


def chip_width(name: str) -> float:
    """How wide the chip of a network is."""
    return len(name) * MONO * 12 + 14
