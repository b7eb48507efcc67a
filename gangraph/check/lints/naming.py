"""Lints of names: those that nothing uses, and older ones."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeGuard

from gangraph.check.infer import Types
from gangraph.check.lints.warning import warn
from gangraph.errors import Edit, Problem, Span, SpecError
from gangraph.graph.model import Graph
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.expression.syntax import parse_expression
from gangraph.language.scalar import Scalar
from gangraph.language.spec_fields import expressions
from gangraph.registry import SYNONYMS


def unused(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG608: what nothing in an update or in the evaluation reads."""
    aheads = (ahead.loss for update in graph.updates for ahead in update.lookaheads)
    used = graph.below(*(root for update in graph.step for root in update.roots), *aheads, *graph.begun.values())
    places = {(each.target, each.field) for each in map(graph.nodes.get, used) if each and each.by_parameters}
    used |= {node.id for node in graph.nodes.values() if node.of_parameters and (node.target, node.field) in places}
    if graph.evaluation is not None:
        evaluation = graph.evaluation
        drawn = (node for sampler in evaluation.samplers.values() for node in sampler.shown)
        shown = evaluation.graph.below(*evaluation.every_time, *(node for _, node in evaluation.numbers), *drawn)
        labels = {evaluation.graph.label(name) for name in shown}
        used |= {name for name in graph.nodes if graph.label(name) in labels}
        called = {evaluation.graph.nodes[name].target for name in shown if evaluation.graph.nodes[name].of_network}
        sources = {evaluation.graph.nodes[name].target for name in shown}
    else:
        called, sources = set(), set()
    called |= {graph.nodes[name].target for name in used if graph.nodes[name].of_network}
    sources |= {graph.nodes[name].target for name in used}
    for kind, names in (("value", graph.values), ("loss", graph.losses)):
        for name, node in names.items():
            if node not in used:
                yield warn(
                    "GG608", f"{kind} '{name}' is used by nothing", graph.spec.spans.get(name, graph.nodes[node].span)
                )
    for name in graph.spec.data:
        if name in graph.sources and name not in sources:
            yield warn("GG608", f"source '{name}' is used by nothing", graph.spec.spans[name])
    for name in graph.networks:
        if name not in called and name not in {average.of for average in graph.averages.values()}:
            yield warn(
                "GG608",
                f"network '{name}' is used by nothing",
                graph.spec.spans.get(name, graph.networks[name].spec.span),
            )
    for name, evaluator in graph.evaluation.evaluators.items() if graph.evaluation is not None else ():
        if name not in called:
            yield warn("GG608", f"network '{name}' is used by nothing", evaluator.span)


def older_names(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG662: a form or an operator by an older name. The fix writes the newer one in its place."""
    for written in expressions(graph.spec, lambda _: True):
        for node in ast.walk(written):
            word, bracket, rest = node.span.characters.partition("(")
            now = SYNONYMS.get(word.rstrip())
            if now is None or not bracket or not _is_named(node, now, len(word)):
                continue
            if isinstance(node, ast.Binary):
                fix = _as_operation(node.span, whole=node is written)
                mend = Edit(node.span, fix) if fix else None
            else:
                fix, mend = f"{now}({rest}", Edit(node.function.span, now)
            yield replace(warn("GG662", f"'{word.rstrip()}' is an older name of {now}", node.span, fix=fix), mend=mend)


def _is_named(node: Expression, now: str, length: int) -> TypeGuard[ast.Call | ast.Binary]:
    """Whether an expression, and no part of it, is written as the call of a word of some length."""
    match node:
        case ast.Call(function=ast.Name(id=meant)):
            return meant == now
        case ast.Binary(operator=meant, left=left):
            return meant == now and left.span.start > node.span.start + length
    return False


def _as_operation(span: Span, *, whole: bool) -> str:
    """A call that is an operation, written as one; nothing where it has quotes, which may meet those of YAML."""
    if {*span.characters} & {'"', "'"}:
        return ""
    try:
        return ast.unparse(parse_expression(Scalar.of(span.characters, "call")), 0 if whole else ast.PRECEDENCE["atom"])
    except SpecError:
        return ""
