"""What a run does, in plain sentences: the data, the networks, each update and why it works as it does."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from gangraph.check.held_out import trained_on
from gangraph.check.phase import Checked
from gangraph.data.fixed import is_fixed
from gangraph.data.lengths import sizes_said
from gangraph.data.source import Field
from gangraph.errors import listed
from gangraph.graph.model import Graph
from gangraph.graph.update import ObjectiveGraph, UpdateGraph
from gangraph.language.expression.model import unparse
from gangraph.language.spec import AverageSpec, EvaluateSpec, NetworkSpec, SamplerSpec, Spec
from gangraph.language.spec_fields import Names
from gangraph.language.tied import tied_to
from gangraph.plan.model import Plan
from gangraph.registry import optimizers
from gangraph.views.decompile import over_values
from gangraph.views.explain.objectives import Objectives
from gangraph.views.explain.update import explain_update
from gangraph.views.families import items_once, listed_once, sentences_once
from gangraph.views.passages import WIDTH, Block, Passage, block_text
from gangraph.views.printers.words import defined, over_time, taken_away, written
from gangraph.views.spec import evaluator_text, titles, weights_text
from gangraph.views.sums import with_sums
from gangraph.views.variables import begun_as, numbers_text
from gangraph.views.wording import counted, spelled


def explain(spec: Spec, plans: Sequence[Plan]) -> Iterator[Block]:
    """Every phase in the order in which things happen, after the first only what is new; then what the paper claims."""
    before: tuple[Block, ...] = ()
    for title, plan in zip(titles(spec), plans, strict=True):
        told = tuple(_phase(plan))
        yield Passage("title", (title,)), *(() if before else _about(spec))
        if spec.start and not before:
            yield _listed("The run begins with weights from elsewhere:", _started(spec))
        yield from _changes(told, before) if before else told
        before = told
    if spec.claims:
        said = (
            f"{each.say}{f' ({each.source})' if each.source else ''}: {unparse(each.check)}" for each in spec.claims
        )
        yield _listed("The spec claims, as conditions on what its variants measure:", said)


def _about(spec: Spec) -> Iterator[Passage]:
    """The spec's own description, and its base if it has one."""
    based = f"It is {spec.base} but for what its own file says." if spec.base else ""
    said = " ".join(filter(None, (f"{spec.about.rstrip('.')}." if spec.about else "", based)))
    yield from _paragraph(said) if said else ()


def explain_text(spec: Spec, plans: Sequence[Plan], width: int = WIDTH) -> str:
    """The explanation as text, in lines of at most `width` letters."""
    return "\n\n".join(block_text(block, width) for block in explain(spec, plans))


def _phase(plan: Plan) -> Iterator[Block]:
    checked = plan.checked
    spec = checked.graph.spec
    yield _paragraph(" ".join(sentences_once(_data(plan))))
    yield _paragraph(" ".join(sentences_once(_networks(checked))))
    if spec.values:
        yield _listed("These values have names:", _defined(spec.values))
    length = f"Training lasts {written(spec.length)}." if spec.length is not None else "Training has no end of its own."
    order = ", then ".join(update.name for update in checked.graph.updates)
    ordered = f", in this order: {order}" if len(checked.graph.updates) > 1 else f", {order}"
    yield _paragraph(f"{length} Each step makes {counted(len(plan.updates), 'update')}{ordered}.")
    for index in range(len(plan.updates)):
        yield tuple(_update(plan, index))
    for index in range(len(plan.updates), len(plan.step)):
        yield tuple(_move(plan, index))
    if spec.evaluate is not None:
        yield tuple(_evaluation(spec.evaluate, trained_on(checked.graph)))


def _changes(told: Iterable[Block], before: Iterable[Block]) -> Iterator[Block]:
    """What a phase does that the one before it did not: new paragraphs, and new items of lists under their lead."""
    known = {text for block in before for passage in block for text in passage.texts}
    for block in told:
        kept: list[Passage] = []
        for passage, after in zip(block, (*block[1:], None), strict=True):
            fresh = tuple(text for text in passage.texts if text not in known)
            leads = after is not None and after.kind == "list" and not known.issuperset(after.texts)
            if fresh or (leads and passage.kind == "paragraph"):
                kept.append(Passage(passage.kind, fresh or passage.texts))
        if kept:
            heading = [block[0]] if block[0].kind == "heading" and kept[0] is not block[0] else []
            yield *heading, *(passage for passage in kept if passage.kind != "heading")
    yield _paragraph("All else is as in the phase before.")


def _paragraph(text: str) -> Block:
    return (Passage("paragraph", (text,)),)


def _listed(lead: str, items: Iterable[str]) -> Block:
    return Passage("paragraph", (lead,)), Passage("list", tuple(items))


def _data(plan: Plan) -> Iterator[str]:
    """What a step draws, and from where."""
    graph = plan.checked.graph
    batch = counted(graph.spec.batch, "sample")
    given = [name for name in plan.sources if name in graph.spec.data]
    of = f" {'each ' if len(given) > 1 else ''}of {listed_once(given)}" if given else ""
    yield f"Each step draws {batch}{of}."
    drawn: dict[str, list[str]] = {}
    for name in given:
        fields = graph.sources[name].fields
        whole = len(fields) == 1
        parts = listed_once(f"{'' if whole else f'{key} '}{_shape(field)}" for key, field in fields.items())
        same = ", the same in every step" if is_fixed(graph.sources[name]) else ""
        comes = f"{written(graph.spec.data[name])}: {parts} for each sample{same}."
        if hasattr(graph.sources[name], "open"):
            yield f"{name} comes from {comes}"
        else:
            drawn.setdefault(comes, []).append(name)
    for comes, alike in drawn.items():
        yield f"{listed_once(alike)} {'is' if len(alike) == 1 else 'are each'} drawn from {comes}"
    loose = [name for name in plan.sources if name not in graph.spec.data]
    if loose:
        names = dict.fromkeys(name.partition(".")[0] for name in loose)
        yield f"Random numbers are drawn for {listed_once(names)} as well."


def _shape(field: Field) -> str:
    """`3 x 64 x 64 numbers in [-1, 1]`."""
    low, high = field.low, field.high
    size = " x ".join(f"({size})" if " " in size else size for size in sizes_said(field))
    numbers = "one number" if size in ("", "1") else f"{size} numbers"
    return numbers + (f" in [{low:g}, {high:g}]" if low > float("-inf") and high < float("inf") else "")


def _networks(checked: Checked) -> Iterator[str]:
    """The networks, those alike together, and how large they are."""
    spec = checked.graph.spec
    own = {n: model for n, model in checked.networks.items() if n in spec.networks and n not in spec.variables}
    if own or not spec.variables:
        yield f"There {'is' if len(own) == 1 else 'are'} {counted(len(own), 'network')}."
    alike: dict[tuple[str, int], list[str]] = {}
    layered = [name for name in spec.networks if name in own and not own[name].graph.is_function]
    for name in layered:
        template = own[name].graph.spec.template
        alike.setdefault((template if template != name else "layers of its own", own[name].parameters), []).append(name)
    for (template, parameters), names in alike.items():
        have = f"have {parameters:,} parameters each" if len(names) > 1 else f"has {parameters:,} parameters"
        yield f"{listed_once(names)} {have} ({template})."
    if functions := [name for name in spec.networks if name in own and name not in layered]:
        are = "is a function" if len(functions) == 1 else "are functions"
        yield f"{listed_once(functions)} {are}, without parameters."
    for name in (name for name in spec.networks if name in own and own[name].graph.draws):
        yield _draws(name, own[name].graph.spec)
    for name, network in spec.networks.items():
        if isinstance(network, NetworkSpec) and network.weights is not None:
            yield _elsewhere(name, network)
    for name, network in spec.networks.items():
        if isinstance(network, NetworkSpec) and name in checked.tied_parts:
            yield _shared(checked, name, network)
    for name, start in begun_as(checked):
        yield f"{name} is a variable of {numbers_text(checked, name)}, which begins as {start}."
    for name, network in spec.networks.items():
        if isinstance(network, AverageSpec):
            yield f"{name} is a moving average of {network.of}, with a decay of {over_time(network.decay)}."


def _started(spec: Spec) -> Iterator[str]:
    """An item for each network that begins with weights from elsewhere."""
    for name, weights in spec.start.items():
        yield f"{name or 'every network by name, where shapes fit'}: {weights_text(weights)}"


def _elsewhere(name: str, network: NetworkSpec) -> str:
    """Where a network comes from, and whether it stays as it is."""
    weights = network.weights
    assert weights is not None
    come = f"The weights of {name} come from {weights_text(weights)}"
    if not network.frozen:
        return f"{come}, and it is trained from there."
    return f"{come}: no optimizer names it, so it stays as it is, in evaluation mode; gradients pass through it."


def _draws(name: str, network: NetworkSpec) -> str:
    """What a network draws, and how often."""
    drawn = listed_once(f"{draw} from {written(source)}" for draw, source in network.draws.items())
    if network.draws_once:
        return f"{name} draws {drawn}, once for all its calls."
    return f"{name} draws {drawn}, anew at each place where it is called."


def _shared(checked: Checked, name: str, network: NetworkSpec) -> str:
    """Which parts of a network are another's, and what is left to itself."""
    tied = tied_to(network)
    said = listed_once(
        f"{listed_once(parts)} {'is' if len(parts) == 1 else 'are'} {of}'s" for of, parts in tied.items()
    )
    own = checked.own_parameters(name)
    left = f"{own:,} of its parameters are its own" if own else "it has no parameters of its own"
    return f"In {name}, {said}, the very same layers: {left}."


def _update(plan: Plan, index: int) -> Iterator[Passage]:
    """One update: which parameters it changes and how, and then what the plan decides about it."""
    graph, update = plan.checked.graph, plan.updates[index]
    yield Passage("heading", (f"Update {index + 1} of {len(plan.updates)}: {update.graph.name}",))
    if timing := " ".join(_timing(plan, index)):
        yield from _paragraph(timing)
    objectives, told = Objectives(graph), dict[str, str]()
    for each in update.graph.objectives:
        learns = f"{_learns(graph, each)}, to {objectives.aim(each.written)}"
        new = dict(objectives.losses(each.written, told))
        yield from _listed(f"{learns}:", items_once(new.values())) if new else _paragraph(f"{learns}.")
        told |= new
    watched = ((name, node) for name, node in update.graph.watched if name not in told)
    values = over_values(graph)
    if looked := [f"{name} = {written(with_sums(values.definition(node)))}" for name, node in watched]:
        yield from _listed("Its gates look at:", looked)
    for sentence in (*_frozen(graph, update.graph), *explain_update(plan, index)):
        yield from _paragraph(sentence)


def _move(plan: Plan, index: int) -> Iterator[Passage]:
    """States that move at the end of a step, and what the plan decides about what they become."""
    states, entry = plan.checked.graph.spec.states, plan.step[index].graph
    yield Passage("heading", (f"The end of the step: {listed_once(name for name, _ in entry.states)}",))
    if timing := " ".join(_timing(plan, index)):
        yield from _paragraph(timing)
    rules = (
        f"{name} = {unparse(states[name].next)}, from {unparse(states[name].start)} on" for name, _ in entry.states
    )
    yield from _listed("When all updates are done, all states move at once, without gradient:", rules)
    for sentence in explain_update(plan, index):
        yield from _paragraph(sentence)


def _timing(plan: Plan, index: int) -> Iterator[str]:
    """How often an update runs, and on what."""
    graph, update = plan.checked.graph, plan.step[index].graph
    said = [(key, key.told(key.sentence, written(value))) for key, value in update.timing]
    yield from (sentence for key, sentence in said if not key.repeated and not key.late)
    if update.gated:
        yield from _gates(update, [sentence for key, sentence in said if key.late])
    yield from (sentence for key, sentence in said if key.repeated)
    anew = [name for name in plan.step[index].redraws if index > 0 or not update.timing.once]
    loose = (name if name in graph.spec.data else f"the random numbers of {name.partition('.')[0]}" for name in anew)
    named = tuple(dict.fromkeys(loose))
    if named:
        each = "Each time it" if update.timing.repeated else "It"
        yield f"{each} draws {listed_once(named)} anew."


def _gates(update: UpdateGraph, whole: Iterable[str]) -> Iterator[str]:
    """Conditions that are decided when the losses are known; `whole` are sentences on those of the whole update."""
    names = [name for name, _ in update.watched]
    if names:
        yield f"Everything is computed each time, then the host reads {listed_once(names)} and decides what steps."
    yield from whole
    for each in update.objectives:
        if each.when is not None:
            change = "changes" if len(each.networks) == 1 else "change"
            yield f"{listed_once(each.networks)} {change} only where {unparse(each.when)}."


def _learns(graph: Graph, objective: ObjectiveGraph) -> str:
    """Who changes which parameters, and how fast."""
    group = graph.spec.optimizers[objective.group]
    rate = group.options.get("lr")
    more = _options({name: value for name, value in group.options.items() if name != "lr"})
    speed = f"with a learning rate of {over_time(rate)}" if rate is not None else "with torch's learning rate"
    extra = f" ({more})" if more else ""
    extra += "".join(
        f", those of {entry.place.written} with {_options(entry.options)}" for entry in group.entries if entry.options
    )
    kind = optimizers[group.kind].function.__name__
    tied = f", and so the parts that {listed_once(objective.tied)} shares with it" if objective.tied else ""
    return f"{kind} changes the parameters of {listed_once(group.trained)}{tied}, {speed}{extra}"


def _options(options: Names) -> str:
    """`a learning rate of 0.01, betas [0, 0.99]`."""
    named = {name: "a learning rate of" if name == "lr" else name.replace("_", " ") for name in options}
    return ", ".join(f"{named[name]} {over_time(value)}" for name, value in options.items())


def _frozen(graph: Graph, update: UpdateGraph) -> Iterator[str]:
    """The parts of networks that an update leaves as they are although it trains others of them."""
    for network in dict.fromkeys(name for each in update.objectives for name in each.networks):
        parts = [name for name in graph.trained(*update.objectives) if name.startswith(f"{network}.")]
        if parts and network not in graph.trained(*update.objectives):
            yield f"It changes no other parameters of {network} than those of {listed_once(parts)}."


def _evaluation(evaluate: EvaluateSpec, known: Sequence[str]) -> Iterator[Passage]:
    """What is evaluated during training; the streams `known` consist of training samples."""
    every = f"Every {written(evaluate.every).removeprefix('1 ')}" if evaluate.every is not None else "At the end"
    mode = "as in training" if evaluate.mode == "train" else "in evaluation mode"
    own = " of data of its own" if evaluate.data.keys() - set(known) else ""
    text = f"{every} the run is evaluated with {evaluate.samples} samples{own}, the networks {mode}."
    if known:
        text += f" The samples of {listed_once(known)} are those that it is trained on."
    if evaluate.best is not None:
        which = "smallest" if evaluate.best[0] == "min" else "largest"
        text += f" The checkpoint with the {which} {evaluate.best[1]} is kept as the best."
    yield from _paragraph(" ".join([text, *_pictures(evaluate)]))
    evaluators = [f"{name} = {evaluator_text(evaluator)}" for name, evaluator in evaluate.networks.items()]
    names = [*_defined(evaluate.data), *evaluators, *_defined(evaluate.values)]
    if names:
        yield from _listed("In the evaluation these names hold:", names)
    if metrics := _defined(evaluate.metrics):
        yield from _listed("It measures, as it goes on:", metrics)
    if results := _defined(evaluate.results):
        yield from _listed(f"And at the end, over {evaluate.result_samples:,} samples:", results)
    if evaluate.samplers:
        drawn = (_sampler(name, sampler) for name, sampler in evaluate.samplers.items())
        yield from _listed("Asked for by name, gangraph sample draws:", drawn)


def _sampler(name: str, sampler: SamplerSpec) -> str:
    """What a sampler shows, and how."""
    shown = listed(_brief(items_once(map(written, sampler.columns)), "{count} values from {first} to {last}"))
    over = f", under {written(sampler.above)}" if sampler.above is not None else ""
    moves = f", one after another, {counted(sampler.rate, 'frame')} a second" if sampler.rate is not None else ""
    return f"{name}: {shown}{over}{moves}, of {counted(sampler.samples, 'sample')}"


def _defined(names: Names) -> list[str]:
    """What names stand for, but for those taken away."""
    texts = (defined(name, with_sums(value)) for name, value in names.items() if not taken_away(value))
    return _brief(items_once(texts), "{first}, and so on to {last}")


def _pictures(evaluate: EvaluateSpec) -> Iterator[str]:
    """A sentence for each picture."""
    for name, columns in evaluate.grids.items():
        texts = (written(column) for column in columns if not taken_away(column))
        if shown := _brief(items_once(texts), "{count} columns from {first} to {last}"):
            yield f"A picture{f' called {name}' if name else ''} shows {listed(shown)}."


def _brief(texts: Iterable[str], many: str) -> list[str]:
    """Texts one by one; four or more in a row that differ in numbers alone become `many`, with the first and last."""
    told: list[str] = []
    for _, together in groupby(texts, lambda text: re.sub(r"(?<![\w.])-?\d[\d.]*", "0", text)):
        row = list(together)
        told += row if len(row) < 4 else [many.format(count=spelled(len(row)), first=row[0], last=row[-1])]
    return told
