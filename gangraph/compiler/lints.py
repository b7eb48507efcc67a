"""Lints: specs that are valid and most likely not what their author wants. Each has a code and a reason."""

from collections import Counter
from collections.abc import Callable, Iterator

from gangraph.compiler.flow import differentiable, penalised_calls
from gangraph.compiler.graph import Graph, Node, Ref, UpdateGraph
from gangraph.compiler.types import TensorType, Types
from gangraph.errors import Problem, Span
from gangraph.language import expression as ast
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
                found="batch_norm",
                fix="norm=layer_norm or norm=instance_norm",
            )


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
        if node.kind == "op" and node.target in ("l1", "l2") and all(i in types.nodes for i in node.inputs):
            yield from _compare([(node.span, types.nodes[i]) for i in node.inputs], f"'{node.target}' compares")


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
        if node.kind != "op" or not vocabulary[node.target].traits.get("logits"):
            continue
        for name in node.inputs:
            source = graph.nodes[name]
            model = types.networks.get(source.target) if source.kind == "network" else None
            squashed = source.target if source.kind == "op" else model.last_ops.get("", "") if model else ""
            if squashed in ("sigmoid", "softmax"):
                yield _warn(
                    "GG604",
                    f"'{node.target}' takes scores before any {squashed}",
                    node.span,
                    found=f"{squashed} at the end of '{graph.label(name) if source.kind == 'op' else source.target}'",
                    fix=f"leave out the {squashed}",
                )


def _untrained(graph: Graph, _: Types) -> Iterator[Problem]:
    trained = {name for update in graph.updates for name in update.networks}
    for name, network in graph.networks.items():
        used = any(graph.calls(name))
        if (
            used
            and name not in trained
            and any(vocabulary[use.name].traits.get("init") for use in network.layers.values())
        ):
            yield _warn(
                "GG605",
                f"no update trains '{name}'",
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
    used = graph.below(*(objective.loss for update in graph.updates for objective in update.objectives))
    if graph.evaluation is not None:
        seen = graph.evaluation
        shown = seen.graph.below(*seen.looks, *(node for _, node in seen.numbers))
        labels = {seen.graph.label(name) for name in shown}
        used |= {name for name in graph.nodes if graph.label(name) in labels}
        called = {seen.graph.nodes[name].target for name in shown if seen.graph.nodes[name].kind == "network"}
        sources = {seen.graph.nodes[name].target for name in shown}
    else:
        called, sources = set(), set()
    called |= {graph.nodes[name].target for name in used if graph.nodes[name].kind == "network"}
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
            for name in below:
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


LINTS: tuple[Lint, ...] = (
    _mixing_under_penalty,
    _unconstrained_critic,
    _ranges_that_do_not_meet,
    _sigmoid_before_logits,
    _untrained,
    _in_two_groups,
    _saturating,
    _unused,
    _averaged_buffers,
    _trained_to_be_caught,
    _held_for_nothing,
    _momentum_with_clipping,
    _unstable_logarithm,
    _zero_rate,
)
