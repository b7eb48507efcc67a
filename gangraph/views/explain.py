"""What a run does, told in plain sentences: the data, the networks, each update and why it works as it does."""

from collections.abc import Iterable, Iterator, Sequence

from gangraph.compiler.check import Checked
from gangraph.compiler.graph import Graph, ObjectiveGraph, UpdateGraph
from gangraph.compiler.optimizers import OPTIMIZERS
from gangraph.compiler.segments import Plan
from gangraph.language import expression as ast
from gangraph.language.expression import Expression, show
from gangraph.language.sharing import borrowed
from gangraph.language.spec import AverageSpec, EvaluateSpec, NetworkSpec, OptimizerSpec, Spec
from gangraph.views.explain_update import explain_update
from gangraph.views.matching import CONSTANT, Term, terms
from gangraph.views.passages import Block, Passage, block_text
from gangraph.views.plan import listed
from gangraph.views.spec import titles
from gangraph.views.wording import as_written, counted, in_words, over_time, value_names, written


def explain(spec: Spec, plans: Sequence[Plan]) -> Iterator[Block]:
    """Every phase in the order in which things happen, then what the paper claims."""
    for title, plan in zip(titles(spec), plans, strict=True):
        yield Passage("title", (title,)), *(_paragraph(f"{spec.about.rstrip('.')}.") if spec.about else ())
        yield from _phase(plan)
    if spec.claims:
        said = (
            f"{claim.say}{f' ({claim.source})' if claim.source else ''}: {show(claim.check)}" for claim in spec.claims
        )
        yield _listed("The spec claims, as conditions on what its variants measure:", said)


def explain_text(spec: Spec, plans: Sequence[Plan]) -> str:
    """What `explain` tells, as text for a terminal."""
    return "\n\n".join(map(block_text, explain(spec, plans)))


def _phase(plan: Plan) -> Iterator[Block]:
    checked = plan.checked
    spec = checked.graph.spec
    yield _paragraph(" ".join(_data(plan)))
    yield _paragraph(" ".join(_networks(checked)))
    if spec.values:
        values = (f"{name} = {written(value)}" for name, value in spec.values.items())
        yield _listed("These values have names:", values)
    length = f"Training lasts {show(spec.length)}." if spec.length is not None else "Training has no end of its own."
    order = ", then ".join(update.name for update in checked.graph.updates)
    ordered = f", in this order: {order}" if len(checked.graph.updates) > 1 else f", {order}"
    yield _paragraph(f"{length} Each step makes {counted(len(plan.updates), 'update')}{ordered}.")
    for index in range(len(plan.updates)):
        yield tuple(_update(plan, index))
    if spec.evaluate is not None:
        yield tuple(_evaluation(spec.evaluate))


def _paragraph(text: str) -> Block:
    return (Passage("paragraph", (text,)),)


def _listed(lead: str, items: Iterable[str]) -> Block:
    return Passage("paragraph", (lead,)), Passage("list", tuple(items))


def _data(plan: Plan) -> Iterator[str]:
    """What a step draws, and from where."""
    graph = plan.checked.graph
    batch = counted(graph.spec.batch, "sample")
    given = [name for name in plan.sources if name in graph.spec.data]
    of = f" {'each ' if len(given) > 1 else ''}of {listed(given)}" if given else ""
    yield f"Each step draws {batch}{of}."
    for name in given:
        fields = graph.sources[name].fields
        whole = len(fields) == 1
        parts = [f"{'' if whole else f'{key} '}{_shape(field)}" for key, field in fields.items()]
        comes = "is drawn from" if not hasattr(graph.sources[name], "open") else "comes from"
        yield f"{name} {comes} {written(graph.spec.data[name])}: {listed(parts)} for each sample."
    loose = [name for name in plan.sources if name not in graph.spec.data]
    if loose:
        names = dict.fromkeys(name.partition(".")[0] for name in loose)
        yield f"Random numbers are drawn for {listed(names)} as well."


def _shape(field: object) -> str:
    """`3 x 64 x 64 numbers in [-1, 1]`."""
    shape, low, high = (getattr(field, part) for part in ("shape", "low", "high"))
    size = " x ".join(map(str, shape))
    numbers = "one number" if size in ("", "1") else f"{size} numbers"
    return numbers + (f" in [{low:g}, {high:g}]" if low > float("-inf") and high < float("inf") else "")


def _networks(checked: Checked) -> Iterator[str]:
    """The networks, those alike together, and how large they are."""
    spec = checked.graph.spec
    own = {name: model for name, model in checked.networks.items() if name in spec.networks}
    yield f"There {'is' if len(own) == 1 else 'are'} {counted(len(own), 'network')}."
    alike: dict[tuple[str, int], list[str]] = {}
    for name in (name for name in spec.networks if name in own):
        template = own[name].graph.spec.template
        alike.setdefault((template if template != name else "layers of its own", own[name].parameters), []).append(name)
    for (template, parameters), names in alike.items():
        have = f"have {parameters:,} parameters each" if len(names) > 1 else f"has {parameters:,} parameters"
        yield f"{listed(names)} {have} ({template})."
    for name, network in spec.networks.items():
        if isinstance(network, NetworkSpec) and name in checked.loans:
            yield _shared(checked, name, network)
    for name, network in spec.networks.items():
        if isinstance(network, AverageSpec):
            yield f"{name} is a moving average of {network.of}, with a decay of {over_time(network.decay)}."


def _shared(checked: Checked, name: str, network: NetworkSpec) -> str:
    """Which parts of a network are another's, and what is left to itself."""
    lent = borrowed(network)
    said = listed(f"{listed(parts)} {'is' if len(parts) == 1 else 'are'} {of}'s" for of, parts in lent.items())
    own = checked.own_parameters(name)
    left = f"{own:,} of its parameters are its own" if own else "it has no parameters of its own"
    return f"In {name}, {said}, the very same layers: {left}."


def _update(plan: Plan, index: int) -> Iterator[Passage]:
    """One update: who learns what how, and then what the plan makes of it."""
    graph, update = plan.checked.graph, plan.updates[index]
    yield Passage("heading", (f"Update {index + 1} of {len(plan.updates)}: {update.graph.name}",))
    if timing := " ".join(_timing(plan, index)):
        yield from _paragraph(timing)
    for each in update.graph.objectives:
        sign = next(goal.sign for goal in graph.spec.updates[index].objectives if goal.group == each.group)
        learns = _learns(graph.spec.optimizers[each.group], each, sign)
        root = graph.nodes[each.written]
        yield from _listed(learns, _goals(graph, root.inputs[0] if sign < 0 else root.id))
    if looked := [f"{name} = {as_written(graph, node, value_names(graph))}" for name, node in update.graph.watched]:
        yield from _listed("Its gates look at:", looked)
    for sentence in explain_update(plan, index):
        yield from _paragraph(sentence)


def _timing(plan: Plan, index: int) -> Iterator[str]:
    """How often an update runs, and on what."""
    graph, update = plan.checked.graph, plan.updates[index].graph
    if update.every is not None:
        yield f"It runs only in every step whose number can be divided by {written(update.every)}."
    if update.when is not None and not update.late:
        yield f"It runs only in steps where {show(update.when)}."
    yield from _gates(update)
    if update.times is not None:
        often = "twice" if written(update.times) == "2" else f"{written(update.times)} times"
        yield f"It runs {often} in a row."
    if update.accumulate > 1:
        yield f"It averages its gradient over {counted(update.accumulate, 'batch', 'batches')}."
    anew = [name for name in plan.updates[index].redraws if index > 0 or update.conditional or update.accumulate > 1]
    named = [name if name in graph.spec.data else f"the random numbers of {name.partition('.')[0]}" for name in anew]
    if named:
        each = "Each time it" if update.times is not None or update.accumulate > 1 else "It"
        yield f"{each} draws {listed(named)} anew."


def _gates(update: UpdateGraph) -> Iterator[str]:
    """Conditions that are decided when the losses are known."""
    if not update.gated:
        return
    names = [name for name, _ in update.watched]
    if names:
        yield f"Everything is computed each time, then the host reads {listed(names)} and decides what steps."
    if update.when is not None and update.late:
        yield f"Parameters change only where {show(update.when)}."
    for each in update.objectives:
        if each.when is not None:
            change = "changes" if len(each.networks) == 1 else "change"
            yield f"{listed(each.networks)} {change} only where {show(each.when)}."


def _learns(group: OptimizerSpec, objective: ObjectiveGraph, sign: int) -> str:
    """Who changes which parameters, and how fast."""
    options = dict(group.options)
    rate = options.pop("lr", None)
    more = ", ".join(f"{name.replace('_', ' ')} {over_time(value)}" for name, value in options.items())
    speed = f"with a learning rate of {over_time(rate)}" if rate is not None else "with torch's learning rate"
    extra = f" ({more})" if more else ""
    verb = "smaller" if sign > 0 else "larger"
    kind = OPTIMIZERS[group.kind].__name__
    kin = f", and so the parts that {listed(objective.kin)} shares with it" if objective.kin else ""
    return f"{kind} changes the parameters of {listed(objective.networks)}{kin}, {speed}{extra}, to make this {verb}:"


def _goals(graph: Graph, objective: str) -> Iterator[str]:
    """Each loss of an objective: its formula, and what that is in words."""
    names = {node: name for name, node in reversed(list(graph.losses.items()))}
    waiting = [objective]
    told: set[str] = set()
    while waiting:
        root = waiting.pop(0)
        if root in told:
            continue
        ends = {node: name for node, name in names.items() if node != root}
        found = terms(graph, root, ends)
        told.add(root)
        if root not in names and all(term.node in ends and (term.weight, term.factors) == (1, ()) for term in found):
            waiting = [*(term.node for term in found), *waiting]
            continue
        formula = as_written(graph, root, {**value_names(graph), **ends})
        called = f"{names[root]} = " if root in names else ""
        yield f"{called}{formula}: {_sum(graph, found, ends)}"
        waiting = [*(t.node for t in found if t.node in ends), *waiting]


def _sum(graph: Graph, found: Sequence[Term], ends: dict[str, str]) -> str:
    """Terms in words."""
    parts = []
    for i, term in enumerate(found):
        sign = "minus " if term.weight < 0 else "plus " if i else ""
        weight = [f"{abs(term.weight):g}"] if abs(term.weight) != 1 or term.node == CONSTANT else []
        factors = [f"({over_time(factor)})" for factor in term.factors]
        node = [] if term.node == CONSTANT else [ends.get(term.node) or in_words(graph, term.node)]
        parts.append(sign + " times ".join([*weight, *factors, *node]))
    return ", ".join(parts)


def _is_none(expression: Expression) -> bool:
    """Whether something was taken away."""
    return isinstance(expression, ast.Literal) and expression.value is None


def _evaluation(evaluate: EvaluateSpec) -> Iterator[Passage]:
    """What is looked at while training."""
    every = f"Every {show(evaluate.every)}" if evaluate.every is not None else "At the end"
    mode = "as in training" if evaluate.mode == "train" else "in evaluation mode"
    own = " of data of its own" if evaluate.data else ""
    text = f"{every} the run is looked at with {evaluate.samples} samples{own}, the networks {mode}."
    columns = [show(column) for column in evaluate.grid if not _is_none(column)]
    if columns:
        text += f" A picture shows {listed(columns)}."
    if evaluate.best is not None:
        which = "smallest" if evaluate.best[0] == "min" else "largest"
        text += f" The checkpoint with the {which} {evaluate.best[1]} is kept as the best."
    yield from _paragraph(text)
    metrics = [f"{name} = {written(metric)}" for name, metric in evaluate.metrics.items() if not _is_none(metric)]
    if metrics:
        yield from _listed("It measures, as it goes on:", metrics)
    results = [f"{name} = {written(result)}" for name, result in evaluate.results.items() if not _is_none(result)]
    if results:
        yield from _listed(f"And at the end, over {evaluate.result_samples:,} samples:", results)
