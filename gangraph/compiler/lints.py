"""Lints: specs that are valid and most likely not what their author wants. Each has a code and a reason."""

import math
from collections import Counter
from collections.abc import Callable, Iterator

from gangraph.compiler.build_network import ANONYMOUS, module_name
from gangraph.compiler.flow import differentiable, penalised_calls
from gangraph.compiler.graph import Evaluation, Graph, Node, Ref, UpdateGraph
from gangraph.compiler.types import TensorType, Types
from gangraph.errors import Problem, Span
from gangraph.language import expression as ast
from gangraph.language.gates import losses_in
from gangraph.language.schedule import TIME
from gangraph.language.sharing import identities
from gangraph.registry import vocabulary

Lint = Callable[[Graph, Types], Iterator[Problem]]


def lint(graph: Graph, types: Types) -> list[Problem]:
    """Every lint's findings, each once."""
    return list(dict.fromkeys(problem for rule in LINTS for problem in rule(graph, types)))


def _warn(code: str, message: str, span: Span, found: str = "", fix: str = "") -> Problem:
    return Problem(code=code, message=message, span=span, found=found, fix=fix, severity="warning")


def _mixing_under_penalty(graph: Graph, types: Types) -> Iterator[Problem]:
    for call, _ in penalised_calls(graph):
        node = graph.nodes[call]
        model = types.networks.get(node.target)
        if model is not None and model.mixes_samples:
            yield _warn(
                "GG601",
                f"'{node.target}' mixes the samples of a batch under a gradient penalty",
                node.span,
                found=" and ".join(model.coupling),
                fix="norm=layer_norm or norm=instance_norm"
                if model.coupling == ("batch_norm",)
                else "leave it out there",
            )


def _coupling_in_parts(graph: Graph, types: Types) -> Iterator[Problem]:
    for update in graph.updates:
        below = graph.below(*(objective.loss for objective in update.objectives))
        calls = [node for node in graph.nodes.values() if node.id in below and node.kind == "network"]
        for node in {node.target: node for node in reversed(calls)}.values():  # the first call of each network
            model = types.networks.get(graph.owner(node.target))
            if update.accumulate > 1 and model is not None and model.mixes_samples:
                yield _warn(
                    "GG622",
                    f"'{node.target}' couples the samples of each micro-batch by itself",
                    node.span,
                    found=f"{' and '.join(model.coupling)} with accumulate: {update.accumulate}",
                    fix=f"batch: {graph.spec.batch * update.accumulate} without accumulate, if memory allows",
                )


def _coupling_grows(graph: Graph, types: Types) -> Iterator[Problem]:
    for name, model in types.networks.items():
        grows = [each for each in model.coupling if vocabulary[each].traits.get("grows_with_batch")]
        if not grows:
            continue
        sizes: dict[int, Span] = {}
        for node in (n for n in graph.nodes.values() if n.kind == "network" and graph.owner(n.target) == name):
            if node.inputs[0] in types.nodes:
                sizes.setdefault(types.nodes[node.inputs[0]].shape[0], node.span)
        if graph.evaluation is not None and len(sizes) == 1:
            sizes |= _sizes_of_looks(graph.evaluation, name, next(iter(sizes)), graph.spec.batch, sizes)
        if len(sizes) > 1:
            yield _warn(
                "GG623",
                f"'{name}' is called with batches of different sizes",
                list(sizes.values())[1],
                found=f"{' and '.join(map(str, sizes))} samples, over which {' and '.join(grows)} sums",
                fix="batches of one size; in evaluate:, samples: the batch of training",
            )


def _sizes_of_looks(
    evaluation: Evaluation, name: str, size: int, batch: int, known: dict[int, Span]
) -> dict[int, Span]:
    """The other batch size that an evaluation gives a network, and where; nothing if it does not call it."""
    graph, spec = evaluation.graph, evaluation.graph.spec.evaluate
    samples = spec.samples * size // batch if spec is not None else size
    calls = [n for n in graph.nodes.values() if n.kind == "network" and graph.owner(n.target) == name]
    return {samples: calls[0].span} if calls and samples not in known else {}


def _unconstrained_critic(graph: Graph, types: Types) -> Iterator[Problem]:
    for update in graph.updates:
        below = graph.below(*(objective.loss for objective in update.objectives))
        clipped = {network for operation, network, _ in update.then if operation == "clip"}
        penalised = any(graph.nodes[name].kind == "grad" for name in below)
        spectral = any(
            use.name == "spectral_norm" for name in update.networks for use in graph.networks[name].layers.values()
        )
        if clipped & set(update.networks) or penalised or spectral:
            continue
        for name in below:
            node = graph.nodes[name]
            if _is_wasserstein_critic(graph, node, update):
                yield _warn(
                    "GG602",
                    "this critic's loss has no lower bound",
                    node.span,
                    fix="then: clip(D, -0.01, 0.01), a gradient penalty, or spectral_norm",
                )


def _is_wasserstein_critic(graph: Graph, node: Node, update: UpdateGraph) -> bool:
    if node.kind == "op" and vocabulary[node.target].traits.get("needs_lipschitz"):
        return True
    if node.kind != "op" or node.target != "sub" or len(node.inputs) != 2:
        return False
    means = [graph.nodes[name] for name in node.inputs]
    if any(mean.kind != "op" or mean.target != "mean" for mean in means):
        return False
    critics = [_scoring(graph, mean.inputs[0]) for mean in means]
    return critics[0] == critics[1] and critics[0] in update.networks


def _scoring(graph: Graph, name: str) -> str:
    """The network whose output a value is; empty if it is none."""
    node = graph.nodes[name]
    call = graph.nodes[node.inputs[0]] if node.kind == "output" else node
    return call.target if call.kind == "network" else ""


def _ranges_that_do_not_meet(graph: Graph, types: Types) -> Iterator[Problem]:
    for name in graph.networks:
        calls = [node for node in graph.calls(name) if all(i in types.nodes for i in node.inputs)]
        for position in range(len(calls[0].inputs) if calls else 0):
            yield from _compare([(node.span, types.nodes[node.inputs[position]]) for node in calls], f"'{name}' is fed")
    for node in graph.nodes.values():
        if node.kind != "op" or any(i not in types.nodes for i in node.inputs):
            continue
        traits = vocabulary[node.target].traits
        if traits.get("compares"):
            yield from _compare([(node.span, types.nodes[i]) for i in node.inputs], f"'{node.target}' compares")
        for name, (low, high) in traits.get("ranges", {}).items():
            given = _given(node, name)
            if given is not None and _reaches_beyond(types.nodes[given], low, high):
                yield _warn(
                    "GG603",
                    f"'{name}' of '{node.target}' lives in [{low:g}, {high:g}]",
                    node.span,
                    f"[{types.nodes[given].low:g}, {types.nodes[given].high:g}]",
                    f"bring it to that range, for example by 0.5 * {graph.label(given)} + 0.5 for data in [-1, 1]",
                )


def _given(node: Node, parameter: str) -> str | None:
    """The node that a parameter of an op is given; None for a constant."""
    argument = vocabulary[node.target].signature.bind(*node.arguments, **dict(node.keywords)).arguments.get(parameter)
    return argument.id if isinstance(argument, Ref) else None


def _reaches_beyond(value: TensorType, low: float, high: float) -> bool:
    """Whether the known range of a value is not within another; what is unbounded is not known."""
    return (float("-inf") < value.low and value.high < float("inf")) and (value.low < low or value.high > high)


def _compare(given: list[tuple[Span, TensorType]], subject: str) -> Iterator[Problem]:
    bounded = [(span, (t.low, t.high)) for span, t in given if float("-inf") < t.low and t.high < float("inf")]
    for span, interval in bounded[1:]:
        first = bounded[0][1]
        narrower, wider = sorted((first, interval), key=lambda i: i[1] - i[0])
        if narrower != wider and (narrower, wider) in _MISMATCHES:
            found = f"[{first[0]:g}, {first[1]:g}] and [{interval[0]:g}, {interval[1]:g}]"
            yield _warn(
                "GG603",
                f"{subject} values of different ranges",
                span,
                found,
                "bring both to one range, for example with tanh for data in [-1, 1]",
            )
            return


_MISMATCHES = {((0.0, 1.0), (-1.0, 1.0)), ((-1.0, 1.0), (0.0, 255.0)), ((0.0, 1.0), (0.0, 255.0))}


def _sigmoid_before_logits(graph: Graph, types: Types) -> Iterator[Problem]:
    for node in graph.nodes.values():
        scores = vocabulary[node.target].traits.get("logits") if node.kind == "op" else None
        if not scores:
            continue
        for name in node.inputs if scores is True else filter(None, (_given(node, score) for score in scores)):
            source = _unshaped(graph, name)
            call = graph.nodes[source.inputs[0]] if source.kind == "output" else source
            model = types.networks.get(call.target) if call.kind == "network" else None
            squashed = source.target if source.kind == "op" else model.last_ops.get(source.field, "") if model else ""
            if squashed in ("sigmoid", "softmax"):
                where = graph.label(source.id) if source.kind == "op" else call.target
                yield _warn(
                    "GG604",
                    f"'{node.target}' takes scores before any {squashed}",
                    node.span,
                    found=f"{squashed} at the end of '{where}'",
                    fix=f"leave out the {squashed}",
                )


def _unshaped(graph: Graph, name: str) -> Node:
    """What a value is before it was brought into another shape."""
    node = graph.nodes[name]
    while node.kind == "op" and node.target in ("reshape", "flatten", "rearrange") and node.inputs:
        node = graph.nodes[node.inputs[0]]
    return node


def _mean_beside_divergence(graph: Graph, types: Types) -> Iterator[Problem]:
    for update in graph.updates:
        for objective in update.objectives:
            terms = list(_terms(graph, objective.loss, 1.0))
            divergences = [(n, weight) for n, weight in terms if _has(n, "nats") and _numbers(n, types) > 0]
            for term, weight in terms:
                elements = _numbers(term, types) if _has(term, "per_element") else 0
                beside = [n for n, its in divergences if _numbers(n, types) < elements and abs(weight) <= abs(its)]
                if beside:
                    yield _warn(
                        "GG624",
                        f"'{term.target}' is a mean over {elements:,} numbers, and '{beside[0].target}' a sum in nats",
                        term.span,
                        found=f"the divergence counts {elements:,} times as much as beside a likelihood",
                        fix="gaussian_nll or laplace_nll, which sum over a sample",
                    )


def _terms(graph: Graph, name: str, weight: float) -> Iterator[tuple[Node, float]]:
    """The ops that an objective adds up, each with the constant that it is multiplied by; what varies counts as 1."""
    node = graph.nodes[name]
    numbers = [a for a in node.arguments if isinstance(a, int | float)]
    refs = [a.id for a in node.arguments if isinstance(a, Ref)]
    if node.kind == "op" and node.target in ("add", "sub", "neg"):
        for ref in refs:
            yield from _terms(graph, ref, weight)
    elif node.kind == "op" and node.target in ("mul", "truediv"):
        factor = math.prod(numbers)
        for ref in refs:
            yield from _terms(graph, ref, weight / factor if node.target == "truediv" and factor else weight * factor)
    elif node.kind == "op":
        yield node, weight


def _has(node: Node, trait: str) -> bool:
    return bool(vocabulary[node.target].traits.get(trait))


def _numbers(node: Node, types: Types) -> int:
    """How many numbers of each sample a loss reads; 0 where that is not known."""
    first = types.nodes.get(node.inputs[0]) if node.inputs else None
    return math.prod(first.shape[1:]) if first is not None else 0


def _untrained(graph: Graph, _: Types) -> Iterator[Problem]:
    named = {name for update in graph.updates for objective in update.objectives for name in objective.networks}
    trained = {part for name in named if name in graph.networks for part in identities(name, graph.networks[name].spec)}
    for name, network in graph.networks.items():
        left = {module_name(part) for owner, part in identities(name, network.spec) if (owner, part) not in trained}
        idle = [use for path, use in network.layers.items() if path.partition(".")[0] in (*left, ANONYMOUS)]
        used = any(graph.calls(name))
        if used and name not in named and any(vocabulary[use.name].traits.get("init") for use in idle):
            own = " what is its own in" if len(left) < len(network.spec.parts) else ""
            yield _warn(
                "GG605",
                f"no update trains{own} '{name}'",
                graph.spec.spans.get(name, network.spec.span),
                fix="name it in an optimizer group and an update",
            )


def _in_two_groups(graph: Graph, _: Types) -> Iterator[Problem]:
    counts = Counter(name for group in graph.spec.optimizers.values() for name, _ in group.networks)
    for group in graph.spec.optimizers.values():
        for name, span in group.networks:
            if counts[name] > 1:
                counts[name] = 0
                yield _warn("GG606", f"'{name}' belongs to two optimizer groups", span)


def _part_in_two_groups(graph: Graph, _: Types) -> Iterator[Problem]:
    """A shared part that two optimizers move, by way of two networks that have it."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    told: set[tuple[str, str]] = set()
    for group in graph.spec.optimizers.values():
        for name, span in group.networks:
            for part in sorted(identities(name, graph.networks[name].spec)) if name in graph.networks else ():
                first, network = found.setdefault(part, (group.name, name))
                if first != group.name and network != name and part not in told:
                    told.add(part)
                    yield _warn(
                        "GG620",
                        f"part '{part[1]}' of '{name}' belongs to two optimizer groups",
                        span,
                        found=f"it is shared with '{network}' of group '{first}'",
                        fix=f"both networks in one group: [{network}, {name}]",
                    )


def _saturating(graph: Graph, _: Types) -> Iterator[Problem]:
    for node in graph.nodes.values():
        if node.kind == "op" and vocabulary[node.target].traits.get("saturates"):
            yield _warn(
                "GG607",
                f"'{node.target}' saturates where the critic wins",
                node.span,
                fix="logistic.generator has the same fixed point",
            )


def _unused(graph: Graph, _: Types) -> Iterator[Problem]:
    aheads = (ahead.loss for update in graph.updates for ahead in update.lookaheads)
    used = graph.below(*(root for update in graph.updates for root in update.roots), *aheads)
    if graph.evaluation is not None:
        seen = graph.evaluation
        shown = seen.graph.below(*seen.looks, *(node for _, node in seen.numbers))
        labels = {seen.graph.label(name) for name in shown}
        used |= {name for name in graph.nodes if graph.label(name) in labels}
        called = {seen.graph.nodes[name].target for name in shown if seen.graph.nodes[name].of_network}
        sources = {seen.graph.nodes[name].target for name in shown}
    else:
        called, sources = set(), set()
    called |= {graph.nodes[name].target for name in used if graph.nodes[name].of_network}
    sources |= {graph.nodes[name].target for name in used}
    for kind, names in (("value", graph.values), ("loss", graph.losses)):
        for name, node in names.items():
            if node not in used:
                yield _warn(
                    "GG608", f"{kind} '{name}' is used by nothing", graph.spec.spans.get(name, graph.nodes[node].span)
                )
    for name in graph.spec.data:
        if name in graph.sources and name not in sources:
            yield _warn("GG608", f"source '{name}' is used by nothing", graph.spec.spans[name])
    for name in graph.networks:
        if name not in called and name not in {average.of for average in graph.averages.values()}:
            yield _warn(
                "GG608",
                f"network '{name}' is used by nothing",
                graph.spec.spans.get(name, graph.networks[name].spec.span),
            )
    for name, judge in graph.evaluation.evaluators.items() if graph.evaluation is not None else ():
        if name not in called:
            yield _warn("GG608", f"network '{name}' is used by nothing", judge.span)


def _averaged_buffers(graph: Graph, _: Types) -> Iterator[Problem]:
    for average in graph.averages.values():
        layers = graph.networks[average.of].layers.values() if average.of in graph.networks else ()
        if average.buffers == "average" and any(use.name == "batch_norm" for use in layers):
            yield _warn(
                "GG610",
                f"the average of '{average.of}' runs over batch norm's statistics",
                average.span,
                fix='buffers="copy"',
            )


def _trained_to_be_caught(graph: Graph, _: Types) -> Iterator[Problem]:
    for update in graph.updates:
        for objective in update.objectives:
            below = graph.below(objective.loss)
            opposed = _subtracted(graph, objective.loss)
            for name in below - opposed:
                node = graph.nodes[name]
                if node.kind != "op" or vocabulary[node.target].traits.get("player") != "critic":
                    continue
                fake = dict(node.keywords).get("fake", node.arguments[-1] if node.arguments else None)
                made_by = differentiable(graph, objective.networks, graph.below(getattr(fake, "id", name)))
                makers = {
                    graph.nodes[n].target
                    for n in made_by
                    if graph.nodes[n].kind == "network" and graph.nodes[n].target in objective.networks
                }
                # What the real samples go through is the critic's, be it one network or a shared trunk and a head.
                real = dict(node.keywords).get("real", node.arguments[0] if node.arguments else None)
                judges = {_scoring(graph, n) for n in node.inputs} | _networks_in(graph, real)
                if makers - judges:
                    generator = ", ".join(sorted(makers - judges))
                    yield _warn(
                        "GG611",
                        f"'{generator}' would be trained to make the critic's task easy",
                        node.span,
                        found=f"group '{objective.group}'",
                    )


def _subtracted(graph: Graph, root: str) -> set[str]:
    """The terms of a sum that it falls with: to minimise it makes them larger."""
    found: dict[str, set[bool]] = {}
    waiting = [(root, False)]
    while waiting:
        name, minus = waiting.pop()
        node, numbers = graph.nodes[name], [n for n in graph.nodes[name].arguments if isinstance(n, int | float)]
        if minus in found.setdefault(name, set()):
            continue
        found[name].add(minus)
        flips = node.target == "neg" or (node.target in ("mul", "truediv") and numbers and numbers[-1] < 0)
        if node.kind == "op" and node.target in ("add", "sub", "neg", "mul", "truediv"):
            for place, argument in enumerate(node.arguments):
                if isinstance(argument, Ref):
                    waiting.append((argument.id, minus != (flips or (node.target == "sub" and place == 1))))
    return {name for name, signs in found.items() if signs == {True}}


def _networks_in(graph: Graph, value: object) -> set[str]:
    """The networks that a value is computed by; none if it is a number."""
    below = graph.below(value.id) if isinstance(value, Ref) else ()
    return {graph.nodes[n].target for n in below if graph.nodes[n].kind == "network"}


def _held_for_nothing(graph: Graph, _: Types) -> Iterator[Problem]:
    changed = {name for update in graph.updates for name in update.networks}
    for node in graph.nodes.values():
        if node.kind == "held":
            beneath = {graph.nodes[n].target for n in graph.below(node.inputs[0]) if graph.nodes[n].kind == "network"}
            if not beneath & changed:
                yield _warn(
                    "GG612",
                    "nothing beneath this value changes within a step",
                    node.span,
                    found=graph.label(node.inputs[0]),
                    fix="leave out held()",
                )


def _momentum_with_clipping(graph: Graph, _: Types) -> Iterator[Problem]:
    for update in graph.updates:
        clipped = {network for operation, network, _ in update.then if operation == "clip"}
        for objective in update.objectives:
            group = graph.spec.optimizers[objective.group]
            betas = group.options.get("betas")
            first = betas.items[0] if isinstance(betas, ast.Sequence) and betas.items else ast.Literal(0.9, group.span)
            momentum = isinstance(first, ast.Literal) and bool(first.value)
            if group.kind in ("adam", "adamw") and momentum and clipped & set(objective.networks):
                yield _warn(
                    "GG613",
                    f"group '{group.name}' has momentum, and its weights are clipped",
                    group.span,
                    fix="rmsprop, or betas=[0, 0.9]",
                )


def _unstable_logarithm(graph: Graph, _: Types) -> Iterator[Problem]:
    for node in graph.nodes.values():
        if (
            node.kind == "op"
            and node.target == "log"
            and node.inputs
            and graph.nodes[node.inputs[0]].target in ("sigmoid", "softmax")
        ):
            inner = graph.nodes[node.inputs[0]].target
            yield _warn(
                "GG614",
                f"log({inner}(x)) is -infinity where {inner} underflows",
                node.span,
                fix="log_sigmoid(x)" if inner == "sigmoid" else "cross_entropy",
            )


def _zero_rate(graph: Graph, _: Types) -> Iterator[Problem]:
    for group in graph.spec.optimizers.values():
        rate = group.options.get("lr")
        if isinstance(rate, ast.Literal) and rate.value == 0:
            yield _warn("GG615", f"group '{group.name}' has a learning rate of 0", rate.span)


def _shut_for_good(graph: Graph, _: Types) -> Iterator[Problem]:
    """While a gate is shut, someone else has to change what it looks at, unless it looks at time as well."""
    for index, update in enumerate(graph.updates):
        others = {name for i, other in enumerate(graph.updates) if i != index for name in other.networks}
        own = [(update.when, update.networks)] + [(each.when, each.networks) for each in update.objectives]
        for gate, shut in own:
            looked = losses_in(gate) if gate is not None else ()
            if gate is None or not looked or any(isinstance(n, ast.Name) and n.id in TIME for n in ast.walk(gate)):
                continue
            below = graph.below(*(dict(update.watched)[name.id] for name in looked))
            beneath = {graph.owner(graph.nodes[n].target) for n in below if graph.nodes[n].kind == "network"}
            moving = others | (set(update.networks) - set(shut))
            if beneath and not beneath & moving:
                yield _warn(
                    "GG618",
                    f"while this gate is shut, nothing changes {' or '.join(sorted(beneath))}",
                    gate.span,
                    found=ast.show(gate),
                    fix="look at a loss of the other player too, or open it now and then: or step % 10 == 0",
                )


def _named_as_time(graph: Graph, _: Types) -> Iterator[Problem]:
    for each in (graph, *([graph.evaluation.graph] if graph.evaluation is not None else [])):
        spec = each.spec
        for name, written in (*spec.data.items(), *spec.values.items(), *spec.losses.items()):
            if name in TIME:
                yield _warn(
                    "GG625",
                    f"'{name}' means a time in every expression, so this one cannot be reached",
                    spec.spans.get(name, written.span),
                    fix="another name",
                )


LINTS: tuple[Lint, ...] = (
    _mixing_under_penalty,
    _coupling_in_parts,
    _coupling_grows,
    _unconstrained_critic,
    _ranges_that_do_not_meet,
    _sigmoid_before_logits,
    _untrained,
    _in_two_groups,
    _part_in_two_groups,
    _saturating,
    _unused,
    _averaged_buffers,
    _trained_to_be_caught,
    _held_for_nothing,
    _momentum_with_clipping,
    _unstable_logarithm,
    _zero_rate,
    _mean_beside_divergence,
    _shut_for_good,
    _named_as_time,
)
