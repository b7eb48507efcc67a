"""Stage 6, lower: a plan to one `torch.fx` graph per segment."""

from dataclasses import replace

from gangraph.build.partition import Sets, after_all, after_metrics
from gangraph.check.phase import Checked
from gangraph.graph.model import Graph
from gangraph.lower.forms import Models
from gangraph.lower.fusing import Kernels
from gangraph.lower.model import EvaluationPart, Lowered, Program
from gangraph.lower.writer import write_segment
from gangraph.plan.model import Plan, Segment


def lower(plan: Plan, *, kernels: Kernels = "off") -> Program:
    """Write every segment, and the evaluation, as an fx graph, with kernels where they can be placed."""
    checked = plan.checked
    models = _models(checked, kernels)
    whole = [segment for update in plan.step for segment in update.segments]
    steps = [ahead.each for segment in whole for ahead in segment.lookaheads]
    segments = {segment.name: _written(checked, models, segment) for segment in (*whole, *steps)}
    begun = tuple(checked.graph.begun.values())
    starts = write_segment(checked.graph, models, _starts(checked.graph, begun)) if begun else None
    evaluation = checked.graph.evaluation
    each = measurement = None
    pictures: dict[str, EvaluationPart] = {}
    if evaluation is not None:
        models = models.of_evaluation(checked.evaluated)
        each = _part(evaluation.graph, models, "evaluate", after_metrics(evaluation.graph, evaluation.every_time))
        numbers = tuple(node for _, node in evaluation.numbers)
        measurement = _part(evaluation.graph, models, "measure", after_all(evaluation.graph, numbers))
        shown = {name: tuple(node for _, node in columns) for name, columns in evaluation.grids.items()}
        shown |= {name: sampler.shown for name, sampler in evaluation.samplers.items()}
        pictures = {
            name: _part(evaluation.graph, models, name or "grid", after_metrics(evaluation.graph, nodes))
            for name, nodes in shown.items()
        }
    return Program(
        plan=plan,
        segments=segments,
        evaluation=each,
        measurement=measurement,
        pictures=pictures,
        kernels=kernels,
        starts=starts,
    )


def lower_part(checked: Checked, nodes: tuple[str, ...]) -> EvaluationPart:
    """The code that computes some nodes of the evaluation and nothing else, without kernels."""
    assert checked.graph.evaluation is not None
    models = _models(checked, "off")
    graph = checked.graph.evaluation.graph
    return _part(graph, models.of_evaluation(checked.evaluated), "values", after_metrics(graph, nodes))


def _written(checked: Checked, models: Models, segment: Segment) -> Lowered:
    """The code of a segment, which is not compiled if that would be done for each length of a batch."""
    made = write_segment(checked.graph, models, segment)
    if checked.types.varying.keys().isdisjoint((*segment.inputs, *segment.nodes)):
        return made
    return replace(made, uncompiled=made.uncompiled or "batches of different lengths would each be compiled")


def _models(checked: Checked, kernels: Kernels) -> Models:
    models = {**checked.networks, **checked.evaluators}
    return Models(models=models, kernels=kernels, bare=frozenset(checked.evaluators))


def _part(graph: Graph, models: Models, name: str, sets: Sets) -> EvaluationPart:
    return EvaluationPart(
        code=write_segment(graph, models, _whole_segment(graph, name, sets.batched)), whole=sets.whole
    )


def _starts(graph: Graph, roots: tuple[str, ...]) -> Segment:
    """The segment that computes the first values of variables, from the networks as they are."""
    return replace(_whole_segment(graph, "starts", roots), purpose="what variables begin as")


def _whole_segment(graph: Graph, name: str, roots: tuple[str, ...]) -> Segment:
    """One segment without gradients that computes some nodes from what is drawn and from numbers over time."""
    below, waiting = set[str](), list(roots)
    while waiting:
        if (node := waiting.pop()) not in below:
            below.add(node)
            waiting += graph.read_for(node)
    return Segment(
        name=name,
        purpose="evaluated and measured",
        nodes=tuple(n for n in graph.nodes if n in below and not graph.nodes[n].is_given),
        inputs=tuple(n for n in graph.nodes if n in below and graph.nodes[n].is_given),
        outputs=tuple(dict.fromkeys(roots)),
        trained=(),
        live=frozenset(),
        detached=frozenset(),
    )
