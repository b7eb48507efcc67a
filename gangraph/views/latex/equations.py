"""The lines of every update: its objective, the definitions of what it names, laws, and words."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from gangraph.check.phase import Checked
from gangraph.graph.model import Graph
from gangraph.graph.update import Lookahead, ObjectiveGraph
from gangraph.language.expression.model import Binary, Call, Expression, Name, is_sum
from gangraph.language.expression.model import Literal as Constant
from gangraph.language.update_spec import UpdateSpec
from gangraph.registry import optimizers
from gangraph.views.calls import accent_of, kind_of, unstopped
from gangraph.views.families import families
from gangraph.views.latex.notation import Notation
from gangraph.views.latex.words import words_of
from gangraph.views.printers.latex import Formula, family_sum, scaled, with_range
from gangraph.views.printers.precedence import PRODUCT
from gangraph.views.printers.symbols import IN_FORMULAS, indexed, without_marks


@dataclass(frozen=True, slots=True)
class Line:
    """One displayed line of an update: `left` stands before what is aligned, `right` after it."""

    update: str
    kind: Literal["objective", "definition", "law", "words"]
    left: str
    right: str

    def __str__(self) -> str:
        return f"{self.left} {self.right}".strip()


@dataclass(frozen=True, slots=True)
class _Row:
    """The two sides of a line, and the nodes that it names."""

    left: str
    right: str
    names: tuple[str, ...]


def objective(checked: Checked) -> tuple[Line, ...]:
    """Every update's objective, the definitions of what it names, its sources, and what needs words."""
    checked = replace(checked, graph=checked.graph.as_written)
    notation = Notation.of_graph(checked.graph)
    lines = (line for index in range(len(checked.graph.step)) for line in _update(checked, notation, index))
    return tuple(replace(line, left=without_marks(line.left), right=without_marks(line.right)) for line in lines)


def equations(checked: Checked) -> tuple[str, ...]:
    """One LaTeX string for each displayed line, without environments or alignment."""
    return tuple(map(str, objective(checked)))


def latex_text(phases: Sequence[Checked], titles: Sequence[str] = ()) -> str:
    """An `align*` for each update of each phase; amsmath and amssymb are enough to set it."""
    parts = []
    for i, checked in enumerate(phases):
        lines = objective(checked)
        for index, update in enumerate(checked.graph.step):
            head = [f"% {titles[i]}"] if titles and index == 0 else []
            count = f"update {index + 1} of {len(checked.graph.updates)}"
            head.append(f"% {'the end of the step' if update.states else count}: {update.name}")
            own = [line for line in lines if line.update == _label(checked.graph, index)]
            body = " \\\\\n".join(f"  {line.left} &{line.right}" for line in own)
            parts.append("\n".join([*head, r"\begin{align*}", body, r"\end{align*}"]))
    return "\n\n".join(parts)


def _label(graph: Graph, index: int) -> str:
    """An update's name, numbered where others have the same."""
    names = [update.name for update in graph.step]
    before = names[:index].count(names[index])
    return names[index] if names.count(names[index]) == 1 else f"{names[index]} {before + 1}"


def _update(checked: Checked, notation: Notation, index: int) -> Iterator[Line]:
    """The lines of one update; what they name is defined, and what is drawn has its law."""
    graph, update = checked.graph, checked.graph.step[index]
    label = _label(graph, index)
    goals = [
        row
        for each in update.objectives
        for row in _objective(_seen_by(notation, each), each, graph.spec.updates[index])
    ]
    goals += [_becomes(notation, name, node) for name, node in update.states]
    steps = [row for ahead in update.lookaheads for row in _steps(notation, ahead)]
    watched = [_watched(notation, name, notation.decompiled.of(node)) for name, node in update.watched]
    named = _definitions(notation, [*goals, *steps, *watched])
    stopped = list(_stopped(notation, graph.below(*update.roots)))
    used = {name for row in (*goals, *steps, *watched, *named, *stopped) for name in row.names}
    yield from (Line(label, "objective", row.left, row.right) for row in goals)
    yield from (Line(label, "definition", row.left, row.right) for row in steps)
    for i, row in enumerate(_once([*watched, *named, *stopped])):
        yield Line(label, "definition", rf"\text{{where }} {row.left}" if i == 0 else row.left, row.right)
    drawn = {graph.nodes[name].target for name in used if graph.nodes[name].is_source}
    if laws := [notation.law(target, used) for target in graph.sources if target in drawn]:
        yield Line(label, "law", "", r", \quad ".join(map(with_range, families(laws, IN_FORMULAS))))
    words = families([*words_of(checked, notation, update, used)], IN_FORMULAS)
    yield from (Line(label, "words", "", with_range(text)) for text in words)


def _once(rows: Sequence[_Row]) -> Iterator[_Row]:
    """Rows with those written once that differ in an index alone."""
    for family in families([f"{row.left}\n{row.right}" for row in rows], IN_FORMULAS):
        left, right = with_range(family).split("\n")
        yield _Row(left, right, tuple(name for place in family.places for name in rows[place].names))


def _becomes(notation: Notation, name: str, node: str) -> _Row:
    """What a state becomes at the end of a step."""
    next_ = notation.decompiled.of(node)
    made = notation.opened(next_) if isinstance(next_, Name) and next_.id not in notation.losses else next_
    return _Row(indexed(name), rf"\leftarrow {notation.formula(made).text}", notation.names(made))


def _watched(notation: Notation, name: str, loss: Expression) -> _Row:
    return _Row(indexed(name), f"= {notation.formula(loss).text}", notation.names(loss))


def _steps(notation: Notation, ahead: Lookahead) -> Iterator[_Row]:
    """Where the steps of a lookahead begin, and each of them."""
    kind = optimizers[notation.graph.spec.optimizers[ahead.group].kind].function.__name__
    plain = [rf"\theta_{{{notation.network(name)}}}" for name in ahead.networks]
    first, last, following = (", ".join(f"{theta}^{{({i})}}" for theta in plain) for i in ("0", "i", "i+1"))
    losses = notation.losses
    loss = notation.decompiled.of(ahead.loss)
    shown = notation.after(ahead.networks, "i").formula(loss).guarded(PRODUCT)
    yield _Row(rf"\text{{with }} {first}", f"= {', '.join(plain)}", ())
    named = rf" \qquad ({indexed(losses[ahead.loss])})" if ahead.loss in losses else ""
    step = rf"= \mathrm{{{kind}}}\left({last}, \nabla_{{{last}}} \, {shown}\right){named}"
    yield _Row(following, step, notation.names(loss))


def _seen_by(notation: Notation, each: ObjectiveGraph) -> Notation:
    """The notation of an objective, in which the networks that it looks ahead are those after the steps."""
    return notation if each.ahead is None else notation.after(each.ahead.networks, f"{each.ahead.steps}")


def _objective(notation: Notation, each: ObjectiveGraph, written: UpdateSpec) -> Iterator[_Row]:
    """The players, and below each other the terms of their sum, each with the name of its loss."""
    sign = next(goal.sign for goal in written.objectives if goal.group == each.group)
    players = ", ".join(_players([*map(notation.place, notation.graph.trained(each))]))
    left = rf"\{'min' if sign > 0 else 'max'}_{{{players}}} \quad"
    terms = [*_terms(notation, notation.goal(each.loss, sign), minus=False, loss="")]
    formulas = [notation.formula(term.value) for term in terms]
    keys = (
        f"{term.loss and indexed(term.loss)}\n{term.minus}\n{formula.text}"
        for term, formula in zip(terms, formulas, strict=True)
    )
    alike = families([*keys], IN_FORMULAS)
    for i, (loss, group) in enumerate(groupby(alike, key=lambda family: family.text.split("\n")[0])):
        together = [(each, family_sum(each, formulas[each.places[0]], each.text.split("\n")[2])) for each in group]
        signed = (_signed(f, terms[family.places[0]].minus, first=i + j == 0) for j, (family, f) in enumerate(together))
        shown = "".join(signed).strip() + (rf" \qquad ({loss})" if loss else "")
        places = [place for family, _ in together for place in family.places]
        yield _Row(left if i == 0 else "", shown, notation.names(*(terms[place].value for place in places)))


def _players(symbols: Sequence[str]) -> Iterator[str]:
    r"""Symbols one by one, those of a family by both ends: F_{0}, \ldots, F_{4}."""
    for family in families(symbols, IN_FORMULAS):
        texts = [symbols[place] for place in family.places]
        yield from (texts[0], r"\ldots", texts[-1]) if family.ends is not None else texts


def _signed(formula: Formula, minus: bool, *, first: bool) -> str:
    """A term with its sign, which the first of a sum has only where it is a minus."""
    if minus and formula.base is not None and formula.factors[0] < 0:
        opposite = scaled(-formula.factors[0], formula.base)
        return opposite.text if first else f" + {opposite.text}"
    if minus:
        return f" - {formula.guarded(PRODUCT)}"
    if formula.text.startswith("-"):
        return f" - {formula.text[1:]}" if not first else formula.text
    return formula.text if first else f" + {formula.text}"


@dataclass(frozen=True, slots=True)
class _Term:
    """A term of a sum: whether it is subtracted, and the innermost named loss that it is part of."""

    value: Expression
    minus: bool
    loss: str


def _terms(notation: Notation, value: Expression, *, minus: bool, loss: str) -> Iterator[_Term]:
    if isinstance(value, Name):
        loss = notation.losses.get(value.id, loss)
    opened, sums = notation.opened(value), list[Binary]()
    while is_sum(opened) and not _are_constants(opened.left, opened.right):
        sums.append(opened)
        opened = opened.left
    if not sums:
        yield _Term(value, minus, loss)
        return
    yield from _terms(notation, opened, minus=minus, loss=loss)
    for each in reversed(sums):
        yield from _terms(notation, each.right, minus=minus != (each.operator == "-"), loss=loss)


def _are_constants(*sides: Expression) -> bool:
    """Whether one side of a sum is a constant, which stays with the other."""
    return any(isinstance(side, Constant) for side in sides)


def _definitions(notation: Notation, rows: Iterable[_Row]) -> list[_Row]:
    """What is named, in the order in which it is computed; a definition may name more."""
    nodes = notation.graph.nodes
    made, waiting = dict[str, _Row](), [name for row in rows for name in row.names]
    while waiting:
        name = waiting.pop()
        if name not in made and not nodes[name].is_source:
            names = notation.names(notation.decompiled.definition(name))
            made[name] = _Row(notation.name(name), f"= {notation.definition(name).text}", names)
            waiting += names
    return [made[name] for name in nodes if name in made]


def _stopped(notation: Notation, beneath: set[str]) -> Iterator[_Row]:
    """What stands under a bar or a tilde, in words; not what is held for a history alone."""
    made = [notation.decompiled.definition(name) for name in notation.graph.nodes if name in beneath]
    accented = [each for each in made if isinstance(each, Call) and accent_of(each)]
    inside = [call.arguments[0] for call in accented if accent_of(call) == "widetilde"]
    for call in (each for each in accented if each not in inside):
        left, what = notation.formula(call), notation.formula(unstopped(call))
        yield _Row(left.text, _without_gradient(call, what.text), notation.names(call))


def _without_gradient(call: Call, what: str) -> str:
    """How a value differs from another, `what`, whose gradient it does not pass on."""
    kind = kind_of(call)
    match kind.remembers if kind is not None else "", call.arguments:
        case "run", (_, Constant(value=int(size))) if size:
            return rf"\text{{: }} {what} \text{{ mixed with its past (a buffer of {size}), without gradient}}"
        case "step", _:
            return rf"= {what} \text{{ as it was when first computed, without gradient}}"
    return rf"= {what} \text{{, without gradient}}"
