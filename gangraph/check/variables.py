"""Checks of variables once types are known: their first values, and the evaluations that read them."""

from collections.abc import Collection, Iterator

from gangraph.check.infer import Types
from gangraph.errors import Problem
from gangraph.graph.model import Evaluation, Graph
from gangraph.language.expression.model import unparse


def odd_variables(graph: Graph, types: Types) -> Iterator[Problem]:
    """Variables that begin as whole numbers (GG580), or as a call with several outputs (GG316)."""
    for name, node in graph.begun.items():
        written, made = graph.spec.variables[name], types.nodes.get(node)
        if made is not None and not made.dtype.is_floating_point:
            yield Problem(
                code="GG580",
                message=f"'{name}' cannot begin as this",
                span=written.span,
                found=f"{unparse(written)}, whole numbers {made}",
                expected="numbers that a gradient can move, such as one_hot(label, 10)",
            )
        outputs = list(graph.networks[graph.owner(graph.nodes[node].target)].outputs) if made is None else []
        if made is None and graph.nodes[node].is_call and node in types.calls and outputs != [""]:
            yield Problem(
                code="GG316",
                message=f"'{name}' begins as a call with several outputs",
                span=written.span,
                found=unparse(written),
                expected="one of " + ", ".join(f"{unparse(written)}.{output}" for output in outputs),
            )


def misread(evaluation: Evaluation, batch: int, per_sample: Collection[str]) -> Iterator[Problem]:
    """GG581: evaluations that read a variable with one tensor for each sample, and have another number of samples."""
    graph, spec = evaluation.graph, evaluation.graph.spec.evaluate
    assert spec is not None
    numbers = graph.below(*(node for _, node in evaluation.numbers))
    drawn = (node for sampler in evaluation.samplers.values() for node in sampler.shown)
    shown = graph.below(*evaluation.every_time, *drawn) | numbers
    counts = {"samples": (shown, spec.samples), "result_samples": (numbers, spec.result_samples)}
    counts |= {
        f"samples of the sampler '{name}'": (graph.below(*sampler.shown), sampler.spec.samples)
        for name, sampler in evaluation.samplers.items()
    }
    for what, (read, count) in counts.items():
        found = (n for name in graph.in_order(read) if (n := graph.nodes[name]).of_network)
        node = next((n for n in found if graph.owner(n.target) in per_sample), None)
        if node is not None and (count % batch if what == "result_samples" else count != batch):
            times = "a multiple of " if what == "result_samples" else ""
            yield Problem(
                code="GG581",
                message=f"the variable '{node.target}' has one tensor for each sample of training's batch",
                span=node.span,
                found=f"{what}: {count}, and a batch of {batch}",
                expected=f"{times}{batch} under evaluate:",
                fix=f"{what}: {batch}" if what in ("samples", "result_samples") else "",
            )
