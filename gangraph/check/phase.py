"""Stage 4, check: shapes, types, ranges, gradient flow and lints, with nothing allocated."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from gangraph.build.optimizers import check_optimizers
from gangraph.build.phase import build
from gangraph.check.batch_axis import follow_batch, variables_per_sample
from gangraph.check.evaluation import check_evaluation, infer_evaluation
from gangraph.check.groups import misassigned, out_of_reach
from gangraph.check.held_values import unfixed
from gangraph.check.infer import Types, infer
from gangraph.check.initialize import check_initialization
from gangraph.check.instantiate import NetworkModel
from gangraph.check.label_range import labels_beyond_classes
from gangraph.check.lengths import varying_shapes
from gangraph.check.lints import lint
from gangraph.check.parameter_values import operations_on_nothing
from gangraph.check.second_order import undifferentiable
from gangraph.check.states import states_change_type
from gangraph.check.tied_parameters import TiedPart, misfits, tied_parts
from gangraph.check.times import uncounted
from gangraph.check.uncompiled import without_compiler
from gangraph.check.variables import misread, odd_variables
from gangraph.check.weights import misfitting_weights
from gangraph.errors import Problem, Span, SpecError, called_by, sorted_problems
from gangraph.graph.code_names import is_form_of, module_name
from gangraph.graph.model import Evaluation, Graph
from gangraph.graph.types import TensorType
from gangraph.graph.update import UpdateGraph
from gangraph.language.expression.gates import losses_in
from gangraph.language.expression.model import Quantity
from gangraph.language.expression.schedule import FUNCTIONS, RAMPS
from gangraph.language.resolve.elsewhere import FORMS
from gangraph.language.spec import EvaluatorSpec, NetworkSpec
from gangraph.registry import vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A graph that has no errors, and everything that was inferred about it.

    `networks` are those of the run, `evaluators` those that other specs train. `evaluated` are networks of the run that
    have other outputs in the evaluation than in training, as the evaluation calls them. `tied_parts` are, by network,
    the parts that are tied to those of an owner. `per_sample` are the variables with one tensor for each sample.
    """

    graph: Graph
    types: Types
    evaluation: Types | None
    networks: Mapping[str, NetworkModel]
    evaluators: Mapping[str, NetworkModel]
    evaluated: Mapping[str, NetworkModel]
    lints: tuple[Problem, ...]
    tied_parts: Mapping[str, tuple[TiedPart, ...]]
    per_sample: frozenset[str] = frozenset()

    def own_parameters(self, name: str) -> int:
        """How many parameters of a network are no other network's."""
        return self.networks[name].parameters - sum(tie.parameters for tie in self.tied_parts.get(name, ()))


@without_compiler()
def check(graph: Graph, earlier: tuple[Problem, ...] = (), save: Quantity | None = None) -> Checked:
    """Infer every value, follow every gradient, and report all that is wrong; `save` is how often a run is saved.

    Raises:
        SpecError: every error found here, in `build`, and `earlier` in `resolve`. Lints do not raise.
    """
    types = infer(graph)
    varying, unfit = varying_shapes(graph, types)
    types, odd = _followed(graph, replace(types, varying=varying, problems=(*types.problems, *unfit)))
    evaluators, refused = _evaluators(graph.evaluation)
    seen = None
    if graph.evaluation is not None:
        seen = infer_evaluation(graph.evaluation, _alike({**types.networks, **evaluators}, graph.evaluation))
    found = () if earlier else (*_gradients(graph, types), *unfixed(graph), *uncounted(graph, save))
    problems = [*earlier, *graph.problems, *types.problems, *found, *refused, *check_optimizers(graph.spec)]
    problems += _reports(graph, types)
    problems += misassigned(graph, types.networks)
    problems += [*_names(graph), *_hiding(graph), *odd]
    problems += _initialization(graph, types)
    each = variables_per_sample(graph, types)
    problems += odd_variables(graph, types)
    if seen is not None and graph.evaluation is not None:
        problems += _unknown(seen.problems, problems)
        seen, odd = _followed(graph.evaluation.graph, seen, each)
        problems += _unknown(odd, problems)
        problems += check_evaluation(graph.evaluation, seen)
        problems += misread(graph.evaluation, graph.spec.batch, each)
    own = {name: model for name, model in seen.networks.items() if name not in evaluators} if seen else {}
    networks = {**own, **types.networks}
    trained, also_refused = _trained(graph, networks)
    problems += [*also_refused, *misfitting_weights(graph.spec, networks, trained)]
    problems += operations_on_nothing(graph, networks)
    tied = tied_parts(graph.spec.networks, networks)
    problems += misfits(graph.spec.networks, networks, tied)
    errors = [problem for problem in problems if problem.severity == "error"]
    if not errors:
        problems += lint(graph.as_written, types)
    if errors:
        raise SpecError(problems)
    lints = sorted_problems(problem for problem in problems if problem.severity == "warning")
    return Checked(
        graph=graph,
        types=types,
        evaluation=seen,
        networks=networks,
        evaluators={name: seen.networks.get(name, model) for name, model in evaluators.items()} if seen else {},
        evaluated={name: model for name, model in own.items() if model is not networks[name]},
        lints=lints,
        tied_parts=tied,
        per_sample=each,
    )


def _unknown(found: Iterable[Problem], known: Iterable[Problem]) -> list[Problem]:
    """Those that are found and have no code and place in common with one that is known."""
    places = {(problem.code, problem.span) for problem in known}
    return [problem for problem in found if (problem.code, problem.span) not in places]


def _initialization(graph: Graph, types: Types) -> Iterator[Problem]:
    """What is wrong with how networks begin, told where they are called too."""
    for name, network in graph.networks.items():
        for problem in check_initialization(network, types.networks.get(name)):
            yield called_by(problem, name, network.spec.span)


def _followed(graph: Graph, types: Types, batched: Collection[str] = ()) -> tuple[Types, list[Problem]]:
    """Types that say which values have the batch, and what is wrong with values whose shapes fit.

    `batched` are variables with a batch that are defined outside of the graph.
    """
    along, problems = follow_batch(graph, types, batched)
    types = replace(types, batched=along)
    return types, [*problems, *_values(graph, types)]


def _values(graph: Graph, types: Types) -> Iterator[Problem]:
    yield from labels_beyond_classes(graph, types)
    yield from states_change_type(graph, types)
    yield from undifferentiable(graph, types)


def _names(graph: Graph) -> Iterator[Problem]:
    """No network has a name that stands for another, or for a form of another, in code."""
    networks = graph.spec.networks
    for name, network in networks.items():
        for other in (other for other in networks if other != name):
            mine, theirs = module_name(name), module_name(other)
            if is_form_of(mine, theirs):
                yield Problem(
                    code="GG215",
                    message=f"'{name}' and '{other}' need one name in code",
                    span=graph.spec.spans.get(name, network.span),
                    found=f"{mine}, which is {other if mine == theirs else f'a form of {other}'} there",
                    expected="another name",
                )
                break


def _hiding(graph: Graph) -> Iterator[Problem]:
    """No network has the name of something else that is called: it would be called in its place."""
    called = {name for name, definition in vocabulary.items() if definition.kind != "layer"}
    called |= {*vocabulary.reserved, *FORMS, "file", *RAMPS, *FUNCTIONS}
    own = [(name, graph.spec.spans.get(name, made.span)) for name, made in graph.spec.networks.items()]
    evaluators = graph.spec.evaluate.networks if graph.spec.evaluate is not None else {}
    for name, span in (*own, *((name, evaluator.span) for name, evaluator in evaluators.items())):
        if name.partition("[")[0] in called:
            yield Problem(
                code="GG411",
                message=f"the name '{name}' is taken",
                span=span,
                found=f"a network called {name}, which is the name of something that is no network",
                expected="another name",
            )


def _alike(models: Mapping[str, NetworkModel], evaluation: Evaluation) -> dict[str, NetworkModel]:
    """The networks that the evaluation calls in the form in which they are already instantiated."""
    graph = evaluation.graph
    runs = {graph.owner(node.target) for node in graph.nodes.values() if node.is_call}
    return {
        name: model
        for name, model in models.items()
        if name in graph.networks and (graph.networks[name].outputs == model.graph.outputs or name not in runs)
    }


def _evaluators(evaluation: Evaluation | None) -> tuple[dict[str, NetworkModel], list[Problem]]:
    """The networks that other specs train, as these make them, and what is wrong with those specs."""
    return _as_trained(evaluation.evaluators if evaluation else {})


def _trained(graph: Graph, networks: Iterable[str]) -> tuple[dict[str, NetworkModel], list[Problem]]:
    """The same of networks that training calls."""
    made = ((name, graph.spec.networks.get(name)) for name in networks)
    weights = {name: each.weights for name, each in made if isinstance(each, NetworkSpec)}
    return _as_trained({name: each for name, each in weights.items() if isinstance(each, EvaluatorSpec)})


def _as_trained(evaluators: Mapping[str, EvaluatorSpec]) -> tuple[dict[str, NetworkModel], list[Problem]]:
    models: dict[str, NetworkModel] = {}
    problems: list[Problem] = []
    for name, evaluator in evaluators.items():
        spec = evaluator.spec
        try:
            last = [check(build(phase, spec.broken), spec.problems) for phase in spec.phases][-1]
        except SpecError as error:
            problems += [called_by(p, name, evaluator.span) for p in error.problems if p.severity == "error"]
            continue
        models[name] = last.networks[last.graph.owner(evaluator.network)]
    return models, problems


def _gradients(graph: Graph, types: Types) -> Iterator[Problem]:
    """Every objective is one number and reaches parameters of its group."""
    if not graph.spec.updates and not graph.problems:
        yield Problem(
            code="GG502",
            message="there is nothing to train",
            span=graph.spec.span,
            expected="at least one update under train: step:",
        )
    for update in graph.updates:
        for ahead in update.lookaheads:
            yield from _one_number(f"the objective of '{ahead.group}'", types.nodes.get(ahead.loss), ahead.span)
            if left := ", ".join(out_of_reach(graph, ahead.loss, ahead.group, types.networks)):
                yield Problem(
                    code="GG512",
                    message=f"the steps of '{ahead.group}' that '{update.name}' looks ahead do not move {left}",
                    span=ahead.span,
                    found=f"no differentiable path to the parameters of {left}",
                    expected=f"under unroll: an objective that depends on {left}",
                )
        yield from _watched(update, graph, types)
        for objective in update.objectives:
            made = types.nodes.get(objective.loss)
            if made is None:
                continue
            yield from _one_number(f"the objective of '{objective.group}'", made, objective.span)
            if names := ", ".join(out_of_reach(graph, objective.loss, objective.group, types.networks)):
                yield Problem(
                    code="GG501",
                    message=f"the objective of '{objective.group}' does not reach {names}",
                    span=objective.span,
                    found=f"no differentiable path to the parameters of {names}",
                    expected=f"a loss that depends on {names}, not only through detach, at_first or history",
                )


def _reports(graph: Graph, types: Types) -> Iterator[Problem]:
    """Every loss that an update computes is reported, so it is one number."""
    minimised = {objective.loss for update in graph.updates for objective in update.objectives}
    computed = graph.below(*(root for update in graph.step for root in update.roots)) - minimised
    for name, node in graph.losses.items():
        made = types.nodes.get(node)
        if node in computed and made is not None and made.shape != ():
            yield from _one_number(f"the loss '{name}'", made, graph.spec.losses[name].span)


def _one_number(what: str, made: TensorType | None, span: Span) -> Iterator[Problem]:
    if made is not None and (made.shape != () or not made.dtype.is_floating_point):
        yield Problem(
            code="GG404",
            message=f"{what} is not one number",
            span=span,
            found=str(made),
            expected="a number: mean(...) or a loss",
        )


def _watched(update: UpdateGraph, graph: Graph, types: Types) -> Iterator[Problem]:
    """Every loss that a gate looks at is one number."""
    for name in (name for gate in update.gates.values() if gate is not None for name in losses_in(gate)):
        made = types.nodes.get(dict(update.watched).get(name.id, ""))
        if made is not None and made.shape != ():
            state = graph.spec.states.get(name.id)
            what = state.called if state is not None else "loss"
            yield Problem(
                code="GG521",
                message=f"the {what} '{name.id}' is not one number, and a gate looks at numbers",
                span=name.span,
                found=str(made),
                expected=f"a loss that is one number, such as {name.id}: mean(...)",
            )
