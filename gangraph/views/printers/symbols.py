r"""Names of a spec as symbols in LaTeX: `D_x` is D_{x}, numbers over time are \lambda(t)."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gangraph.data.random import Bernoulli, Categorical, Normal, Permutation, RandomSource, Uniform
from gangraph.graph.model import Graph
from gangraph.views.families import Indices
from gangraph.views.printers.words import constant_text

GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi", "pi",
    "rho", "sigma", "tau", "phi", "chi", "psi", "omega",
)  # fmt: skip
_OPEN, _CLOSE = "\ue000", "\ue001"  # private characters of Unicode, which no name has
IN_FORMULAS = Indices(re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}"), "{}")
_LETTERS = {Uniform: "u", Normal: "n", Categorical: "c", Bernoulli: "b", Permutation: "s"}


@dataclass(frozen=True, slots=True)
class Symbols:
    """A symbol for each network by its name, and for each value that formulas name by its node."""

    networks: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def after(self, graph: Graph, networks: Iterable[str], steps: str) -> "Symbols":
        """The symbols where some networks, and the values that they give, are those after a number of steps."""
        moved = set(networks)
        calls = {call.id for network in moved for call in graph.calls(network)}
        above = {name for name in self.names if calls & graph.below(name)}
        return Symbols(_raised(self.networks, moved, steps), _raised(self.names, above, steps))


def _raised(table: Mapping[str, str], chosen: set[str], steps: str) -> dict[str, str]:
    return {name: f"{text}^{{({steps})}}" if name in chosen else text for name, text in table.items()}


def symbols_of(graph: Graph) -> Symbols:
    """The symbols of a graph's networks, values, sources and numbers over time."""
    networks = _apart(graph.spec.networks)
    names = {node: indexed(name) for node, name in graph.value_names.items()}
    names |= dict(
        _source_symbols(
            graph, names, {*map(symbol, graph.spec.data), *map(without_marks, (*networks.values(), *names.values()))}
        )
    )
    scalars = [node.id for node in graph.nodes.values() if node.expression is not None and node.id not in names]
    for i, name in enumerate(scalars, 1):
        names[name] = r"\lambda" + (f"_{{{i}}}" if len(scalars) > 1 else "") + "(t)"
    return Symbols(networks, names)


def _source_symbols(graph: Graph, names: Mapping[str, str], taken: set[str]) -> Iterator[tuple[str, str]]:
    """Streams and draws by their own names; draws written inside a value by a letter for their law."""
    for node in graph.nodes.values():
        if not node.is_source or node.is_unwritten or node.id in names:
            continue
        source = graph.sources[node.target]
        anonymous = node.target not in graph.spec.data
        letter = _LETTERS.get(type(source), "r") if anonymous and isinstance(source, RandomSource) else ""
        fresh = (f"{letter}_{{{i}}}" if i > 1 else letter for i in range(1, len(graph.nodes) + 2))
        made = next(name for name in fresh if name not in taken) if letter else indexed(node.id)
        taken.add(made)
        yield node.id, made


def symbol(name: str) -> str:
    r"""A name of a spec in LaTeX: `D_x` is D_{x}, `fake_y` is \mathrm{fake}_{y}, `z2` is z_{2}, `lambda` is \lambda."""
    return without_marks(indexed(name))


def indexed(name: str) -> str:
    """The symbol of a name with marks around the indices of a member of a family, by which IN_FORMULAS finds them."""
    marked = re.sub(r"\[(\d+|[a-zA-Z]+)\]", rf"_{_OPEN}\1{_CLOSE}", name)
    parts = re.sub(rf"(?<=[a-zA-Z])(?=\d)|[^\w{_OPEN}{_CLOSE}]+", "_", marked).strip("_").split("_")
    first, *rest = filter(None, parts)
    below = ", ".join(map(upright, rest))
    return upright(first) + (f"_{{{below}}}" if rest else "")


def without_marks(text: str) -> str:
    """LaTeX without the marks around indices, as it is shown."""
    return text.replace(_OPEN, "").replace(_CLOSE, "")


def upright(word: str) -> str:
    r"""One word as a symbol: a letter or digits as they are, Greek letters as such, others as \mathrm{word}."""
    if word.startswith(_OPEN):
        return f"{_OPEN}{upright(word[1:-1])}{_CLOSE}"
    if word.lower() in GREEK:
        return f"\\{word.lower()}"
    return word if len(word) == 1 or word.isdigit() else rf"\mathrm{{{word}}}"


def _apart(names: Iterable[str]) -> dict[str, str]:
    """A symbol for each name; a name whose symbol another has already is written in its own letters."""
    made: dict[str, str] = {}
    for name in names:
        short, letters = indexed(name), name.replace("_", r"\_")
        made[name] = (
            short if without_marks(short) not in map(without_marks, made.values()) else rf"\mathrm{{{letters}}}"
        )
    return made


def number(value: object) -> str:
    r"""A constant in LaTeX: 5e-05 is 5 \cdot 10^{-5}."""
    text = constant_text(value)
    if isinstance(value, str):
        return symbol(value) if re.search(r"\w", value) else r"\text{?}"
    mantissa, exponent, power = text.partition("e")
    if not exponent or isinstance(value, tuple | bool) or value is None:
        return text
    return (f"{mantissa} \\cdot " if mantissa != "1" else "") + f"10^{{{int(power)}}}"


def law(source: RandomSource) -> str:
    r"""The distribution of a random source: \mathcal{N}(0, 1)^{100}."""
    sizes = r" \times ".join(map(str, source.shape))
    size = f"^{{{sizes}}}" if sizes not in ("", "1") else ""
    match source:
        case Normal(mean=mean, std=std):
            return rf"\mathcal{{N}}({number(mean)}, {number(std)}{'^{2}' if std != 1 else ''}){size}"
        case Uniform(low=low, high=high):
            return rf"\mathcal{{U}}[{number(low)}, {number(high)}){size}"
        case Categorical(classes=classes, one_hot=one_hot):
            several = f"^{{{source.shape[0]}}}" if len(source.shape) > one_hot else ""
            return rf"\mathrm{{Categorical}}({classes}){several}"
        case Permutation(count=count, shape=(first,)):
            return rf"\mathrm{{Permutation}}({count})" + (rf"_{{1 \ldots {first}}}" if first < count else "")
        case Bernoulli(p=p):
            return rf"\mathrm{{Bernoulli}}({number(p)}){size}"
    return rf"\mathrm{{{type(source).__name__}}}"
