"""What the formulas of an update do not say, in words between LaTeX."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from gangraph.check.phase import Checked
from gangraph.errors import listed
from gangraph.graph.update import UpdateGraph
from gangraph.language.tied import tied_to
from gangraph.update_options import UPDATE_OPTIONS
from gangraph.views.latex.notation import Notation
from gangraph.views.printers.latex import moment
from gangraph.views.printers.symbols import law, number, symbol
from gangraph.views.wording import counted


def words_of(checked: Checked, notation: Notation, update: UpdateGraph, used: Collection[str]) -> Iterator[str]:
    """What a formula does not say: averages, noise, how often, on which draws, all at once, and what follows.

    `used` are the nodes that the formulas name.
    """
    graph = checked.graph
    beneath = graph.below(*update.roots)
    targets = dict.fromkeys(n.target for n in graph.nodes.values() if n.of_network and n.id in beneath)
    for name in (name for name in targets if name in graph.averages):
        of = notation.network(graph.averages[name].of)
        yield rf"{notation.network(name)} \text{{: moving average of }} {of}"
    yield from _of_networks(checked, notation, list(dict.fromkeys(map(graph.owner, targets))))
    if update.ahead:
        thetas = ", ".join(notation.network(name) for each in update.objectives for name in each.networks)
        steps = counted(update.ahead, "step")
        yield rf"\text{{with gradients where {steps} of the update would take }} {thetas} \text{{, applied from here}}"
    if update.closure:
        yield r"\text{at several points of one step, on the same draws}"
    if len(update.objectives) > 1:
        yield r"\text{all at once, from the parameters before this update}"
    yield from _timing(notation, update, [name for name in graph.nodes if name in beneath and name in used])
    for each in update.then:
        part = rf".\mathrm{{{each.place.path}}}".replace("_", r"\_") if each.place.path else ""
        theta = rf"\theta_{{{notation.network(each.network)}{part}}}"
        inside = ", ".join([theta, *map(number, each.numbers)])
        yield rf"\text{{then }} {theta} \leftarrow \mathrm{{{each.operation}}}({inside})"


def _of_networks(checked: Checked, notation: Notation, called: Sequence[str]) -> Iterator[str]:
    """What is tied, given or drawn in the networks that an update calls, and how variables begin."""
    graph = checked.graph
    for name in (name for name in called if name in checked.tied_parts):
        for owner, parts in tied_to(checked.networks[name].graph.spec).items():
            of = notation.network(owner)
            inside = listed(parts).replace("_", r"\_")
            is_that = "is that" if len(parts) == 1 else "are those"
            yield rf"\text{{{inside} of }} {notation.network(name)} \text{{ {is_that} of }} {of}"
    for name in (name for name in called if checked.networks[name].graph.spec.frozen):
        yield rf"{notation.network(name)} \text{{ is given: its parameters stay as they are}}"
    for name in (name for name in called if name in graph.spec.variables):
        yield rf"{notation.network(name)} \text{{ begins as }} {notation.formula(graph.spec.variables[name]).text}"
    for name in (name for name in called if graph.networks[name].draws):
        laws = (rf"{symbol(draw)} \sim {law(source)}" for draw, source in graph.networks[name].draws.items())
        often = "once for all its calls" if graph.networks[name].spec.draws_once else "at each call"
        yield rf"{notation.network(name)} \text{{ draws }} {_listed(laws)} \text{{ {often}}}"
    noisy = [notation.network(name) for name in called if checked.networks[name].draws]
    if noisy:
        yield rf"\text{{the means are also over the noise inside }} {_listed(noisy)}"


def _timing(notation: Notation, update: UpdateGraph, named: Sequence[str]) -> Iterator[str]:
    """How often an update runs and on which draws of those `named`, and what is done with its gradient."""
    drawn = [node for name in named if (node := notation.graph.nodes[name]).is_source]
    anew = [node.id for source in update.draws or () for node in drawn if node.target == source]
    fresh = rf"fresh draws of }} {_listed(map(notation.name, anew))}" if anew else ""
    often = [key.told(key.latex, moment(value)) for key, value in update.timing if key.repeated]
    if often and fresh:
        often[-1] += rf" \text{{, each time on {fresh}"
    yield from often or ([rf"\text{{on {fresh}"] if fresh else [])
    yield from (key.told(key.latex, moment(value)) for key, value in update.timing if not key.repeated)
    for each in update.objectives:
        if each.when is not None:
            players = _listed(notation.network(name) for name in each.networks)
            yield rf"{players} \text{{ only in steps where }} {moment(each.when)}"
    for name, value in update.options.items():
        option = UPDATE_OPTIONS[name]
        yield option.told(option.latex, moment(value))


def _listed(symbols: Iterable[str]) -> str:
    each = list(symbols)
    return rf"{', '.join(each[:-1])} \text{{ and }} {each[-1]}" if len(each) > 1 else "".join(each)
