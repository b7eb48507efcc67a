"""What stages hand on is verified: each rule, broken in one place, says so."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from torch import fx

from gangraph.build.phase import build
from gangraph.graph import differentiability
from gangraph.graph.model import Graph, Node, Ref
from gangraph.graph.update import ParameterOperation
from gangraph.graph.verify import InvariantError, verify, verify_gradients
from gangraph.language.expression.model import Literal
from gangraph.language.place import Place
from gangraph.language.timing import Timing
from gangraph.lower import writer
from gangraph.lower.model import Lowered, Program
from gangraph.lower.phase import lower
from gangraph.lower.verify import verify_program
from gangraph.pipeline import check_phase, compile_phase
from gangraph.plan.model import Plan, Segment
from gangraph.plan.verify import verify_plan
from tests.support import small

D_STEP = "{update: d, minimize: judge}"
G_STEP = "{update: g, minimize: fool, unroll: {update: d, minimize: judge, steps: 2}}"


@cache
def program() -> Program:
    """A critic with a penalty, a value with a past, a named output, and steps that are looked ahead."""
    spec = small(
        D_STEP,
        G_STEP,
        networks_g="{inputs: z, parts: {p: linear(2)}, outputs: {image: p(z), code: tanh(p(z))}}",
        more_networks="  A: average(G, decay=0.9)",
        networks_d='{inputs: x, layers: "linear(4), tanh, linear(1)"}',
        more_values="  image: fake.image\n  mixed: history(image, 5)\n  slope: grad(D(x), x)",
        judge='"mean(D(mixed)) - mean(D(x)) + mean(slope ** 2)"',
        fool='"mean(fake.code) - mean(D(image))"',
        evaluate="evaluate:\n  samples: 8\n  metrics: {distance: mean(D(fake.image))}\n",
    )
    return compile_phase(check_phase(spec, spec.phases[0]))


def graph() -> Graph:
    return program().plan.checked.graph


def with_node(name: str, **changes: Any) -> Graph:
    """The graph with one node changed."""
    whole = graph()
    return replace(whole, nodes={**whole.nodes, name: replace(whole.nodes[name], **changes)})


def operation(network: str, *numbers: float) -> ParameterOperation:
    return ParameterOperation("clip", Place(network, "", graph().spec.span), numbers)


def with_update(number: int, **changes: Any) -> Graph:
    updates = list(graph().updates)
    updates[number] = replace(updates[number], **changes)
    return replace(graph(), updates=tuple(updates))


def with_ahead(**changes: Any) -> Graph:
    (objective,) = graph().updates[1].objectives
    assert objective.ahead is not None
    return with_update(1, objectives=(replace(objective, ahead=replace(objective.ahead, **changes)),))


def with_objective(**changes: Any) -> Graph:
    (objective,) = graph().updates[0].objectives
    return with_update(0, objectives=(replace(objective, **changes),))


def reordered(name: str) -> Graph:
    """The graph with one node before all others."""
    nodes = dict(graph().nodes)
    return replace(graph(), nodes={name: nodes.pop(name), **nodes})


def with_network(**changes: Any) -> Graph:
    return replace(graph(), networks={**graph().networks, "G": replace(graph().networks["G"], **changes)})


def with_layer(**changes: Any) -> Graph:
    """The graph with the layer of its generator changed."""
    nodes = graph().networks["G"].nodes
    (name,) = (name for name, each in nodes.items() if each.kind == "layer")
    return with_network(nodes={**nodes, name: replace(nodes[name], **changes)})


def with_evaluation(**changes: Any) -> Graph:
    seen = graph().evaluation
    assert seen is not None
    return replace(graph(), evaluation=replace(seen, **changes))


def node(kind: str) -> str:
    """The first node of a kind."""
    return next(name for name, node in graph().nodes.items() if node.kind == kind)


GRAPHS: Mapping[str, tuple[Callable[[], Graph], str]] = {
    "id": (lambda: with_node("slope", id="steep"), "the node 'slope' calls itself 'steep'"),
    "span": (lambda: with_node("slope", span=None), "'slope' has no place in the spec"),
    "kind": (lambda: with_node("slope", kind="grat"), "'slope' is of kind 'grat', which nothing has registered"),
    "order": (lambda: reordered("slope"), "'slope' needs 'D_out', which does not stand before it"),
    "reference": (
        lambda: with_node("slope", arguments=(Ref("D_out"), Ref("y"))),
        "'slope' needs 'y', which does not stand before it",
    ),
    "arity": (
        lambda: with_node("slope", arguments=(Ref("D_out"),)),
        "'slope' is of kind 'grad', which takes a value, a value; it has 1 arguments",
    ),
    "argument": (
        lambda: with_node("mixed", arguments=(Ref("image"), "many")),
        "'mixed' is of kind 'history', which takes a value, int; it has 2 arguments",
    ),
    "keyword": (
        lambda: with_node("slope", keywords=(("rows", 3),)),
        "'slope' is of kind 'grad', which has no argument 'rows'",
    ),
    "layer": (lambda: with_node("slope", kind="layer"), "'slope' is of kind 'layer', which stands in networks alone"),
    "source": (lambda: with_node("z", target="w"), "'z' is drawn from 'w', and there is no such source"),
    "field": (lambda: with_node("x", field="label"), "'x' is the field 'label' of 'x', which has no such field"),
    "call": (
        lambda: with_node("fake", arguments=(3,)),
        "'fake' is of kind 'network', which takes values alone",
    ),
    "named": (
        lambda: with_node("fake", keywords=(("z", 3),)),
        "'fake' is of kind 'network', which takes values alone",
    ),
    "operation": (
        lambda: with_node(node("op"), arguments=()),
        "calls 'mean' wrongly: missing a required",
    ),
    "operand": (
        lambda: with_node(node("op"), keywords=(("of", 3),)),
        "calls 'mean' wrongly: got an unexpected",
    ),
    "average": (
        lambda: replace(graph(), averages={"A": replace(graph().averages["A"], of="F")}),
        "'A' is an average of 'F', and there is no such network",
    ),
    "network": (lambda: with_node("fake", target="H"), "'fake' comes from 'H', and there is no such network"),
    "op": (lambda: with_node(node("op"), target="conv2d"), "calls 'conv2d', and there is no such op, loss or metric"),
    "group": (lambda: with_node(node("lookahead"), target="h"), "takes steps of 'h', and there is no such optimizer"),
    "buffer": (lambda: with_node("mixed", target=""), "'mixed' keeps its past in a buffer, and names none"),
    "inputs": (lambda: with_node("fake", arguments=()), "'fake' gives 'G' 0 inputs of 1"),
    "output": (lambda: with_node("image", field="mask"), "'image' is the output 'mask' of 'fake', which has no such"),
    "origin": (lambda: with_node("fool_ahead", origin="steep"), "'fool_ahead' stands for 'steep', which is no value"),
    "ahead": (lambda: with_node("fake", ahead="z"), "'fake' is no call of a network that 'z' looks ahead of"),
    "forgotten": (
        lambda: with_update(1, objectives=graph().updates[0].objectives),
        f"'{node('lookahead')}' looks ahead for no objective",
    ),
    "steps": (
        lambda: replace(graph(), updates=(*graph().updates, graph().updates[1])),
        f"'{node('lookahead')}' looks ahead for 2 objectives",
    ),
    "value": (
        lambda: replace(graph(), values={**graph().values, "slope": "steep"}),
        "the value 'slope' is 'steep', and there is no such node",
    ),
    "loss": (lambda: replace(graph(), losses={"judge": "j"}), "the loss 'judge' is 'j', and there is no such node"),
    "objective": (lambda: with_objective(loss="j", written="j"), "update 'd': the objective of 'd' is 'j', and there"),
    "written": (lambda: with_objective(written="x"), "update 'd': the objective of 'd' is not the one that is written"),
    "optimizer": (lambda: with_objective(group="e"), "update 'd': there is no optimizer 'e'"),
    "trained": (lambda: with_objective(networks=("E",)), "update 'd': 'd' trains 'E', and there is no such network"),
    "nothing": (lambda: with_objective(networks=()), "update 'd': 'd' trains no network"),
    "draws": (lambda: with_update(0, draws=("w",)), "update 'd': it draws 'w', and there is no such source"),
    "names": (lambda: with_update(0, named=frozenset({"j"})), "update 'd': it names 'j', and there is no such loss"),
    "then": (lambda: with_update(0, then=(operation("E", -1, 1),)), "update 'd': 'clip' changes 'E', and there is no"),
    "numbers": (lambda: with_update(0, then=(operation("D"),)), "there is no operation 'clip' on parameters with 0"),
    "watched": (
        lambda: with_update(0, watched=(("judge", "j"),)),
        "update 'd': the watched loss 'judge' is 'j', and there is no such node",
    ),
    "body": (lambda: with_ahead(body=("nothing",)), "computes what is no node"),
    "reads": (lambda: with_node(node("lookahead"), arguments=()), "does not read"),
    "layers": (lambda: with_network(layers={}), "network 'G': 'p' is the layer at 'p.linear', and nothing"),
    "outputs": (lambda: with_network(outputs={**graph().networks["G"].outputs, "x": Ref("y")}), "the output 'x' is no"),
    "given": (
        lambda: with_layer(arguments=(3,)),
        "network 'G': 'p' is of kind 'layer', which takes values",
    ),
    "layer inputs": (
        lambda: with_layer(arguments=(Ref("z"), Ref("z"))),
        "network 'G': 'p' is a layer, which takes one value; it has 2",
    ),
    "network inputs": (
        lambda: with_network(spec=replace(graph().networks["G"].spec, inputs=("w",))),
        "network 'G': the input 'w' is no node",
    ),
    "no outputs": (lambda: with_network(outputs={}), "network 'G': it has no output"),
    "metric": (
        lambda: with_evaluation(metrics=(("distance", "d"),)),
        "evaluation: the metric 'distance' is 'd', and there is no such node",
    ),
    "evaluation": (lambda: with_evaluation(graph=with_node("z", target="w")), "evaluation: 'z' is drawn from 'w'"),
}


@pytest.mark.parametrize("rule", GRAPHS)
def test_a_graph_that_breaks_a_rule_is_refused(rule: str) -> None:
    made, sentence = GRAPHS[rule]
    with pytest.raises(InvariantError) as caught:
        verify(made())
    assert sentence in str(caught.value)


def test_a_gradient_through_what_stops_it_is_refused() -> None:
    spec = small(more_values="  stopped: detach(D(x))\n  slope: grad(D(x), x)", judge="mean(stopped + D(fake) + slope)")
    made = build(spec.phases[0])
    verify_gradients(made)
    slope = replace(made.nodes["slope"], arguments=(Ref("stopped"), Ref("x")))
    made = replace(made, nodes={**made.nodes, "slope": slope})
    verify(made)
    with pytest.raises(InvariantError, match="'slope' is a gradient of 'stopped', which does not depend"):
        verify_gradients(made)


def test_gradients_of_an_evaluation_are_verified_too() -> None:
    steepness = '"mean(detach(D(x))) + mean(grad(D(x), x))"'
    made = build(small(evaluate=f"evaluate:\n  samples: 8\n  metrics: {{steepness: {steepness}}}\n").phases[0])
    assert made.evaluation is not None
    verify_gradients(made)
    seen = made.evaluation.graph
    changed = replace(seen.nodes["grad"], arguments=(Ref("detached"), Ref("x")))
    seen = replace(seen, nodes={**seen.nodes, "grad": changed})
    with pytest.raises(InvariantError, match="evaluation: 'grad' is a gradient of 'detached', which does not depend"):
        verify_gradients(replace(made, evaluation=replace(made.evaluation, graph=seen)))


def test_steps_ahead_that_do_not_compute_their_objective_are_refused() -> None:
    made = with_ahead(loss="fake")
    verify(made)
    with pytest.raises(InvariantError, match="a step of 'g_ahead' does not compute 'fake', which it makes smaller"):
        verify_gradients(made)


# ------------------------------------------------------------------------------------------------------- plans


def with_segment(change: Callable[[Segment], Segment], update: int = 0, place: int = -1) -> Plan:
    """The plan with one segment changed."""
    whole = program().plan
    body = list(whole.updates[update].body)
    body[place] = change(body[place])
    updates = list(whole.updates)
    updates[update] = replace(updates[update], body=tuple(body))
    return replace(whole, updates=tuple(updates))


def freed() -> Plan:
    """The plan with all that the second update reads freed after the first."""
    whole = program().plan
    first, second = whole.updates
    reads = {name for segment in second.segments for name in segment.inputs}
    return replace(whole, updates=(replace(first, frees=(*first.frees, *sorted(reads))), second))


def skipped() -> Plan:
    """The plan with a first update that may be passed over."""
    whole = program().plan
    first, second = whole.updates
    timing = Timing.of({"accumulate": Literal(2, first.graph.span)})
    return replace(whole, updates=(replace(first, graph=replace(first.graph, timing=timing)), second))


def with_plan(number: int = 0, **changes: Any) -> Plan:
    """The plan with one update changed."""
    updates = list(program().plan.updates)
    updates[number] = replace(updates[number], **changes)
    return replace(program().plan, updates=tuple(updates))


def with_step(*, passed: bool = False, **changes: Any) -> Plan:
    """The plan with the step changed that the second update looks ahead, and whether a gradient passes it."""

    def change(segment: Segment) -> Segment:
        (ahead,) = segment.lookaheads
        return replace(segment, lookaheads=(replace(ahead, live=passed, each=replace(ahead.each, **changes)),))

    return with_segment(change, 1)


PLANS: Mapping[str, tuple[Callable[[], Plan], str]] = {
    "read": (lambda: with_segment(lambda s: replace(s, inputs=(*s.inputs, "judge")), 1, 0), "reads 'judge', which is"),
    "freed": (freed, "reads 'image', which is not there"),
    "skipped": (skipped, "reads 'image', which is not there"),
    "past": (lambda: with_segment(lambda s: replace(s, outputs=("code",)), 0, 0), "mixes 'mixed' with its past before"),
    "order": (lambda: with_segment(lambda s: replace(s, nodes=s.nodes[::-1])), "segment 'd' computes '"),
    "given": (lambda: with_segment(lambda s: replace(s, nodes=("x", *s.nodes))), "computes 'x', which is given"),
    "output": (lambda: with_segment(lambda s: replace(s, outputs=("z",))), "gives 'z', which it does not compute"),
    "objective": (lambda: with_segment(lambda s: replace(s, outputs=())), "update 'd' has not computed 'judge'"),
    "merge": (lambda: with_segment(lambda s: replace(s, merges=(("D_out", "E_out"),))), "makes one call of D_out, E_"),
    "again": (lambda: with_segment(lambda s: replace(s, again=("D_out",))), "calls 'D_out' again, and its state was"),
    "keeps": (lambda: with_segment(lambda s: replace(s, keeps=("E_out",))), "keeps the state before E_out, which it"),
    "live": (lambda: with_segment(lambda s: replace(s, live=frozenset(("E",)))), "differentiates E, which it does not"),
    "unknown": (lambda: with_segment(lambda s: replace(s, inputs=(*s.inputs, "y"))), "names 'y', and there is no such"),
    "loss": (lambda: with_plan(losses=(("judge", "j"),)), "update 'd' computes 'j', and there is no such node"),
    "alike": (
        lambda: with_segment(lambda s: replace(s, merges=(("D_out", "slope"),))),
        "D_out, slope, which are not alike",
    ),
    "calls": (
        lambda: with_segment(lambda s: replace(s, merges=(("slope", "slope"),))),
        "makes one call of slope, slope, which are no calls, or are made twice",
    ),
    "trained": (lambda: with_segment(lambda s: replace(s, trained=())), "trains nothing, in place of D"),
    "stranger": (lambda: with_segment(lambda s: replace(s, trained=("E",))), "trains E, in place of D"),
    "dead": (lambda: with_segment(lambda s: replace(s, live=frozenset())), "segment 'd' does not differentiate D_out"),
    "alive": (
        lambda: with_segment(lambda s: replace(s, live=s.live | {"x"})),
        "segment 'd' differentiates x, on which no gradient depends",
    ),
    "target": (lambda: with_segment(lambda s: replace(s, target=2)), "segment 'd' is differentiated in no update"),
    "detached": (
        lambda: with_segment(lambda s: replace(s, detached=frozenset({"y"}))),
        "reads y without a gradient, which it does not read",
    ),
    "calls in order": (
        lambda: with_segment(lambda s: replace(s, order=(("slope", "D_out"),))),
        "does not call 'slope' before 'D_out', whose state that moves",
    ),
    "order of none": (lambda: with_segment(lambda s: replace(s, order=(("a", "b"),))), "does not call 'a' before 'b'"),
    "names": (lambda: with_plan(body=program().plan.updates[0].body * 2), "2 segments are called 'd"),
    "sources": (lambda: replace(program().plan, sources=("z",)), "reads 'x', which is not drawn"),
    "noise": (lambda: with_plan(noise=("E_out",)), "update 'd' draws numbers for 'E_out', which it does not call"),
    "histories": (
        lambda: with_segment(lambda s: replace(s, histories=(*s.histories, "slope"))),
        "mixes 'slope' with its past, which is not kept",
    ),
    "steps": (lambda: with_step(nodes=()), "looks ahead, where 'g_ahead_step' "),
    "live steps": (lambda: with_step(live=frozenset()), "looks ahead, where 'g_ahead_step' does not differentiate "),
    "passed steps": (
        lambda: with_step(passed=True, trained=("G",)),
        "'g_ahead_step' is passed by a gradient in one place",
    ),
    "trained steps": (lambda: with_step(trained=("E",)), "looks ahead, where 'g_ahead_step' trains E, in place of "),
}


@cache
def random() -> Plan:
    """A critic that drops out and keeps state, called twice in each update, and steps of it that are looked ahead."""
    spec = small(
        D_STEP, G_STEP, D_STEP, networks_d='{inputs: x, layers: "linear(4), batch_norm(), dropout(0.5), linear(1)"}'
    )
    return compile_phase(check_phase(spec, spec.phases[0])).plan


def random_but(number: int, **changes: Any) -> Plan:
    """The random plan with one update changed."""
    updates = list(random().updates)
    updates[number] = replace(updates[number], **changes)
    return replace(random(), updates=tuple(updates))


def without_order() -> Plan:
    """The random plan without the order of the calls in its first update."""
    return random_but(0, body=tuple(replace(segment, order=()) for segment in random().updates[0].body))


def without_order_ahead() -> Plan:
    """The random plan without the order of the calls in the steps that it looks ahead."""
    (segment,) = random().updates[1].body
    (ahead,) = segment.lookaheads
    return random_but(1, body=(replace(segment, lookaheads=(replace(ahead, each=replace(ahead.each, order=())),)),))


RANDOM: Mapping[str, tuple[Callable[[], Plan], str]] = {
    "no numbers": (lambda: random_but(0, noise=("D_out",)), "'d' draws no numbers for 'D_out_2', which has none of"),
    "old numbers": (lambda: random_but(1, noise=("D_out",)), "'g' draws no numbers for 'D_out_2', which has none of"),
    "other numbers": (
        lambda: random_but(2, noise=("D_out", "D_out_2")),
        "'d' draws numbers for 'D_out', which has those of this value",
    ),
    "numbers of none": (
        lambda: random_but(0, noise=("D_out", "D_out_2", "fake")),
        "'d' draws numbers for 'fake', which takes none",
    ),
    "state": (without_order, "segment 'd_update_1' may call 'D_out_2' before 'D_out', which moves the same state"),
    "state ahead": (without_order_ahead, "looks ahead, where 'g_ahead_step' may call 'D_out_2' before 'D_out', which"),
}


def test_a_plan_of_random_layers_and_state_is_whole() -> None:
    verify_plan(random())
    assert [update.noise for update in random().updates] == [("D_out", "D_out_2"), ("D_out", "D_out_2"), ("D_out_2",)]


@pytest.mark.parametrize("rule", [*PLANS, *RANDOM])
def test_a_plan_that_breaks_a_rule_is_refused(rule: str) -> None:
    made, sentence = {**PLANS, **RANDOM}[rule]
    with pytest.raises(InvariantError) as caught:
        verify_plan(made())
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "judge",
    ["mean(D(x + mean(D(x)))) + mean(F(x))", "mean(D(x + mean(F(x)))) + mean(F(x + mean(D(x))))"],
    ids=["one", "other"],
)
def test_calls_that_need_each_other_are_not_merged(judge: str) -> None:
    trained = "sgd([D, F], lr=0.1)"
    spec = small("{update: d, minimize: judge}", judge=judge, optimizer_d=trained, more_networks="  F: mlp(widths=[4])")
    made = compile_phase(check_phase(spec, spec.phases[0])).plan
    (update,) = made.updates
    (segment,) = update.body
    calls = {network: [each.id for each in made.checked.graph.calls(network)] for network in ("D", "F")}
    merges = [tuple(name for name in names if name in segment.nodes) for names in calls.values()]
    segment = replace(segment, merges=tuple(filter(None, merges)))
    with pytest.raises(InvariantError, match="segment 'd' makes one call each of calls that need each other: D_out"):
        verify_plan(replace(made, updates=(replace(update, body=(segment,)),)))


# -------------------------------------------------------------------------------------------------------- code


def with_code(**changes: Any) -> Program:
    """The program with the code of the critic's segment changed."""
    lowered: Lowered = program().segments["d"]
    return replace(program(), segments={**program().segments, "d": replace(lowered, **changes)})


def longer() -> fx.Graph:
    """The code of the critic's segment with one placeholder more."""
    made = fx.Graph()
    made.placeholder("more")
    made.output(made.graph_copy(program().segments["d"].graph, {}))
    return made


PROGRAMS: Mapping[str, tuple[Callable[[], Program], str]] = {
    "segment": (lambda: replace(program(), segments={}), "has no code"),
    "placeholders": (lambda: with_code(graph=longer()), "the code of 'd' takes"),
    "reads": (lambda: with_code(reads=("a", *program().segments["d"].reads[1:])), "the code of 'd' does not read"),
    "gives": (lambda: with_code(writes=()), "the code of 'd' does not give the 0 values that it writes"),
    "writes": (lambda: with_code(writes=("a", *program().segments["d"].writes[1:])), "the code of 'd' does not write"),
    "networks": (lambda: with_code(networks={}), "the code of 'd' calls D, which it does not list"),
    "starts": (lambda: replace(program(), starts=with_code(writes=()).segments["d"]), "the code of 'd' does not give"),
}


def test_calls_that_need_each_other_are_not_left_out_of_code() -> None:
    made = with_segment(lambda segment: replace(segment, merges=(("D_out", "slope"),)))
    with pytest.raises(InvariantError, match="segment 'd' has no order in which D_out, slope, "):
        lower(made)


def test_what_a_gradient_passes_is_followed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count, followed = 6, list[str]()

    def passed(graph: Graph, gradient: Node) -> set[str]:
        followed.append(gradient.id)
        return differentiability.passed(graph, gradient)

    monkeypatch.setattr(writer, "passed", passed)
    slopes = "".join(f"\n  slope{i}: grad(D({i + 2} * x), x)" for i in range(count))
    terms = " + ".join(f"mean(slope{i})" for i in range(count))
    spec = small("{update: d, minimize: judge}", more_values=slopes[1:], judge=terms)
    compile_phase(check_phase(spec, spec.phases[0]))
    assert len(followed) == count


@pytest.mark.parametrize("rule", PROGRAMS)
def test_code_that_is_not_the_segments_is_refused(rule: str) -> None:
    made, sentence = PROGRAMS[rule]
    with pytest.raises(InvariantError) as caught:
        verify_program(made())
    assert sentence in str(caught.value)
