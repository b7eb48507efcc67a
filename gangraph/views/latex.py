"""A spec as mathematics: what each update minimises, over what, and what the names in it stand for, in LaTeX."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from gangraph.build.optimizers import OPTIMIZERS
from gangraph.check.phase import Checked
from gangraph.graph.model import Graph, Lookahead, ObjectiveGraph, Ref, UpdateGraph
from gangraph.language.spec import UpdateSpec
from gangraph.language.tied import tied_to
from gangraph.update_options import UPDATE_OPTIONS
from gangraph.views.notation import PRODUCT, Notation, moment, number, scaled, symbol
from gangraph.views.plan import listed


@dataclass(frozen=True, slots=True)
class Line:
    """One displayed line of an update: `left` stands before what is aligned, `right` after it."""

    update: str
    kind: Literal["objective", "definition", "law", "words"]
    left: str
    right: str

    def __str__(self) -> str:
        return f"{self.left} {self.right}".strip()


def objective(checked: Checked) -> tuple[Line, ...]:
    """Every update's objective, the definitions of what it names, its sources, and what needs words."""
    checked = replace(checked, graph=checked.graph.as_written)
    return tuple(line for index in range(len(checked.graph.updates)) for line in _update(checked, index))


def equations(checked: Checked) -> tuple[str, ...]:
    """One LaTeX string for each displayed line, without environments or alignment."""
    return tuple(map(str, objective(checked)))


def latex_text(phases: Sequence[Checked], titles: Sequence[str] = ()) -> str:
    """An `align*` for each update of each phase; amsmath and amssymb are enough to set it."""
    parts = []
    for i, checked in enumerate(phases):
        lines = objective(checked)
        for index, update in enumerate(checked.graph.updates):
            head = [f"% {titles[i]}"] if titles and index == 0 else []
            head.append(f"% update {index + 1} of {len(checked.graph.updates)}: {update.name}")
            own = [line for line in lines if line.update == _label(checked.graph, index)]
            body = " \\\\\n".join(f"  {line.left} &{line.right}" for line in own)
            parts.append("\n".join([*head, r"\begin{align*}", body, r"\end{align*}"]))
    return "\n\n".join(parts)


def _label(graph: Graph, index: int) -> str:
    """An update's name, numbered where others have the same."""
    names = [update.name for update in graph.updates]
    before = names[:index].count(names[index])
    return names[index] if names.count(names[index]) == 1 else f"{names[index]} {before + 1}"


def _update(checked: Checked, index: int) -> Iterator[Line]:
    graph = checked.graph
    notation, label, update = Notation(graph), _label(graph, index), graph.updates[index]
    written = graph.spec.updates[index]
    for each in update.objectives:
        ahead = each.ahead
        with notation.after(ahead.networks, f"{ahead.steps}") if ahead is not None else nullcontext():
            yield from (Line(label, "objective", *pair) for pair in _objective(notation, each, written))
    for ahead in update.lookaheads:
        yield from (Line(label, "definition", *pair) for pair in _steps(notation, ahead))
    definitions = [*_looked_at(notation, update), *_definitions(notation, update)]
    for i, (left, right) in enumerate(definitions):
        yield Line(label, "definition", rf"\text{{where }} {left}" if i == 0 else left, right)
    drawn = {graph.nodes[name].target for name in notation.used if _drawn(graph, name)}
    laws = [target for target in graph.sources if target in drawn]
    if laws:
        yield Line(label, "law", "", r", \quad ".join(notation.law(target) for target in laws))
    yield from (Line(label, "words", "", text) for text in _words(checked, notation, update))


def _steps(notation: Notation, ahead: Lookahead) -> Iterator[tuple[str, str]]:
    """Where the steps of a lookahead begin, and each of them."""
    kind = OPTIMIZERS[notation.graph.spec.optimizers[ahead.group].kind].__name__
    plain = [rf"\theta_{{{notation.networks[name]}}}" for name in ahead.networks]
    first, last, following = (", ".join(f"{theta}^{{({i})}}" for theta in plain) for i in ("0", "i", "i+1"))
    losses = {node: name for name, node in notation.graph.losses.items()}
    with notation.after(ahead.networks, "i"):
        loss = notation.of(Ref(ahead.loss)).guarded(PRODUCT)
    yield rf"\text{{with }} {first}", f"= {', '.join(plain)}"
    named = rf" \qquad ({symbol(losses[ahead.loss])})" if ahead.loss in losses else ""
    yield following, rf"= \mathrm{{{kind}}}\left({last}, \nabla_{{{last}}} \, {loss}\right){named}"


def _drawn(graph: Graph, name: str) -> bool:
    return graph.nodes[name].kind in ("stream", "random")


def _objective(notation: Notation, each: ObjectiveGraph, written: UpdateSpec) -> Iterator[tuple[str, str]]:
    """The players, and below each other the terms of their sum, each with the name of its loss."""
    sign = next(goal.sign for goal in written.objectives if goal.group == each.group)
    node = notation.graph.nodes[each.loss]
    root = node.inputs[0] if sign < 0 and node.target == "neg" else node.id
    players = ", ".join(notation.networks[name] for name in each.networks)
    left = rf"\{'min' if sign > 0 else 'max'}_{{{players}}} \quad"
    losses = {target: name for name, target in notation.graph.losses.items()}
    terms = _terms(notation.graph, losses, root, minus=False, loss="")
    for i, (loss, together) in enumerate(groupby(terms, key=lambda term: term[2])):
        shown = "".join(_signed(notation, name, minus, first=i + j == 0) for j, (minus, name, _) in enumerate(together))
        yield (left if i == 0 else ""), shown.strip() + (rf" \qquad ({symbol(loss)})" if loss else "")


def _signed(notation: Notation, name: str, minus: bool, *, first: bool) -> str:
    """A term with its sign, which the first of a sum has only where it is a minus."""
    formula = notation.of(Ref(name))
    if minus and formula.base is not None and formula.factors[0] < 0:
        opposite = scaled(-formula.factors[0], formula.base)
        return opposite.text if first else f" + {opposite.text}"
    if minus:
        return f" - {formula.guarded(PRODUCT)}"
    if formula.text.startswith("-"):
        return f" - {formula.text[1:]}" if not first else formula.text
    return formula.text if first else f" + {formula.text}"


def _terms(
    graph: Graph, losses: dict[str, str], name: str, *, minus: bool, loss: str
) -> Iterator[tuple[bool, str, str]]:
    """The terms of a sum: whether each is subtracted, its node, and the innermost named loss that it is part of."""
    node, loss = graph.nodes[name], losses.get(name, loss)
    if node.target not in ("add", "sub") or not all(isinstance(argument, Ref) for argument in node.arguments):
        yield minus, name, loss
        return
    first, second = node.inputs
    yield from _terms(graph, losses, first, minus=minus, loss=loss)
    yield from _terms(graph, losses, second, minus=minus != (node.target == "sub"), loss=loss)


def _looked_at(notation: Notation, update: UpdateGraph) -> list[tuple[str, str]]:
    """The losses that gates look at, as formulas."""
    return [(symbol(name), f"= {notation.of(Ref(node)).text}") for name, node in update.watched]


def _definitions(notation: Notation, update: UpdateGraph) -> Iterator[tuple[str, str]]:
    """What is named, in the order in which it is computed; a definition may name more."""
    graph, made = notation.graph, dict[str, str]()
    while missing := [name for name in graph.nodes if name in notation.used - made.keys() and not _drawn(graph, name)]:
        made |= {name: notation.definition(name).text for name in missing}
    yield from ((notation.names[name], f"= {made[name]}") for name in graph.nodes if name in made)
    yield from _stopped(notation, graph.below(*update.roots))


def _stopped(notation: Notation, beneath: set[str]) -> Iterator[tuple[str, str]]:
    """What stands under a bar or a tilde, in words."""
    graph = notation.graph
    past = {n.inputs[0] for n in graph.nodes.values() if n.kind == "history" and n.id in beneath}
    inside = {name for name in past if graph.nodes[name].kind in ("held", "detach")}
    for node in graph.nodes.values():
        if node.id not in beneath or node.id in inside or node.kind not in ("held", "detach", "history"):
            continue
        left = notation.of(Ref(node.id)) if node.id not in notation.names else notation.definition(node.id)
        what = notation.of(
            graph.nodes[node.inputs[0]].arguments[0] if node.inputs[0] in inside else Ref(node.inputs[0])
        )
        match node.kind:
            case "history":
                size = node.arguments[1]
                text = rf"\text{{: }} {what.text} \text{{ mixed with its past (a buffer of {size}), without gradient}}"
                yield left.text, text if size else rf"= {what.text} \text{{, without gradient}}"
            case "held":
                yield left.text, rf"= {what.text} \text{{ as it was when first computed, without gradient}}"
            case _:
                yield left.text, rf"= {what.text} \text{{, without gradient}}"


def _words(checked: Checked, notation: Notation, update: UpdateGraph) -> Iterator[str]:
    """What a formula does not say: averages, noise, how often, on which draws, all at once, and what follows."""
    graph = checked.graph
    beneath = graph.below(*update.roots)
    targets = dict.fromkeys(n.target for n in graph.nodes.values() if n.of_network and n.id in beneath)
    for name in (name for name in targets if name in graph.averages):
        of = notation.networks[graph.averages[name].of]
        yield rf"{notation.networks[name]} \text{{: moving average of }} {of}"
    called = dict.fromkeys(map(graph.owner, targets))
    for name in (name for name in called if name in checked.tied_parts):
        for owner, parts in tied_to(checked.networks[name].graph.spec).items():
            of = notation.networks[owner]
            inside = listed(parts).replace("_", r"\_")
            is_that = "is that" if len(parts) == 1 else "are those"
            yield rf"\text{{{inside} of }} {notation.networks[name]} \text{{ {is_that} of }} {of}"
    noisy = [notation.networks[name] for name in called if checked.networks[name].draws]
    if noisy:
        yield rf"\text{{the means are also over the noise inside }} {_listed(noisy)}"
    if len(update.objectives) > 1:
        yield r"\text{all at once, from the parameters before this update}"
    yield from _timing(notation, update, beneath)
    for name, network, numbers in update.then:
        theta = rf"\theta_{{{notation.networks[network]}}}"
        inside = ", ".join([theta, *map(number, numbers)])
        yield rf"\text{{then }} {theta} \leftarrow \mathrm{{{name}}}({inside})"


def _timing(notation: Notation, update: UpdateGraph, beneath: set[str]) -> Iterator[str]:
    graph = notation.graph
    nodes = sorted(notation.used, key=lambda name: list(graph.nodes).index(name))
    anew = [n for source in update.draws or () for n in nodes if n in beneath and graph.nodes[n].target == source]
    anew = [n for n in anew if _drawn(graph, n)]
    fresh = rf"\text{{on fresh draws of }} {_listed(notation.names[n] for n in anew)}" if anew else ""
    if update.times is not None:
        times = moment(update.times)
        yield rf"{times} \text{{ times{', each' if anew else ' in a row'}}} \; {fresh}".removesuffix(r" \; ")
    elif fresh:
        yield fresh
    if update.every is not None:
        yield rf"\text{{in every step that }} {moment(update.every)} \text{{ divides}}"
    if update.when is not None:
        yield rf"\text{{only in steps where }} {moment(update.when)}"
    for each in update.objectives:
        if each.when is not None:
            players = _listed(notation.networks[name] for name in each.networks)
            yield rf"{players} \text{{ only in steps where }} {moment(each.when)}"
    if update.accumulate > 1:
        yield rf"\text{{its gradient averaged over {update.accumulate} batches}}"
    for name, value in update.options.items():
        option = UPDATE_OPTIONS[name]
        yield option.told(option.latex, moment(value))


def _listed(symbols: Iterable[str]) -> str:
    each = list(symbols)
    return rf"{', '.join(each[:-1])} \text{{ and }} {each[-1]}" if len(each) > 1 else "".join(each)
