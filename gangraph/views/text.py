"""What the compiler found out about a spec, as text and as JSON: the stages that `show` and `check` print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gangraph.errors import listed
from gangraph.language.expression.model import unparse
from gangraph.language.spec import NetworkSpec, Spec
from gangraph.language.tied import tied_to
from gangraph.language.timing import Timing
from gangraph.language.update_spec import UpdateSpec
from gangraph.update_schedule import SCHEDULE_KEYS
from gangraph.views.printers.words import layer_text
from gangraph.views.spec import aim, introduction, spec_text, table, titles, weights_text

if TYPE_CHECKING:
    from gangraph.check.instantiate import NetworkModel
    from gangraph.check.phase import Checked
    from gangraph.errors import Problem


def shapes_text(checked: Checked, *, title: str = "") -> str:
    """Every named value with its shape and range, and every network with its layers."""
    batch = checked.graph.spec.batch
    rows = [("value", "shape", "range")]
    for name, kind in _named_types(checked).items():
        shape, _, span = str(kind).partition(" in ")
        rows.append((name, shape, span or "any"))
    lines = ([title, ""] if title else []) + table(rows)
    for name, model in checked.networks.items():
        if name in checked.graph.starts:
            continue
        template = model.graph.spec.template
        kind = f", {template}" if template != name else ""
        cost = f"{parameters_text(checked, name)}, {_count(model.flops)} for one call on a batch of {batch}"
        lines += ["", f"network {name}{kind}: {cost}"]
        lines += table(layer_rows(model), indent="  ", right=frozenset({3}))
    return "\n".join(lines)


def parameters_text(checked: Checked, name: str) -> str:
    """`4,609 parameters and 7,833,476 in trunk of G`: how many a network has, and where those that it shares are."""
    tied: dict[str, int] = {}
    for tie in checked.tied_parts.get(name, ()):
        tied[tie.owner] = tied.get(tie.owner, 0) + tie.parameters
    network = checked.graph.spec.networks.get(name)
    parts = tied_to(network) if isinstance(network, NetworkSpec) else {}
    more = [f"{count:,} in {listed(parts.get(owner, ()))} of {owner}" for owner, count in tied.items()]
    return " and ".join([f"{checked.own_parameters(name):,} parameters", *more])


def _named_types(checked: Checked) -> dict[str, Any]:
    """The types of data, states, values and losses, by the spec's names; data with several fields as `name.field`."""
    graph, types = checked.graph, checked.types.nodes
    given = {node.target if node.is_state else name: name for name, node in graph.nodes.items() if node.is_given}
    given = {name: node for name, node in given.items() if graph.nodes[node].expression is None}
    variables = {node.target: node.id for node in graph.nodes.values() if node.is_call and node.target in graph.starts}
    named = {**given, **variables, **graph.values, **graph.losses}
    return {name: types[node] for name, node in named.items() if node in types}


def layer_rows(model: NetworkModel) -> Iterator[tuple[str, str, str, str]]:
    """A heading, then every layer and join of a network: place, layer, output shape, parameters where it has any."""
    yield "layer", "", "output", "parameters"
    seen: set[str] = set()
    for name, node in model.graph.nodes.items():
        shape = f"[{', '.join(map(str, model.shapes[name]))}]"
        if node.target in model.graph.layers:
            module = model.module.get_submodule(node.target)
            count = 0 if node.target in seen else sum(p.numel() for p in module.parameters())
            seen.add(node.target)
            yield node.target, layer_text(model.graph.layers[node.target]), shape, f"{count:,}" if count else ""
        else:
            yield name, node.target or "input", shape, ""


def _count(flops: int) -> str:
    for size, unit in ((10**12, "TFLOPs"), (10**9, "GFLOPs"), (10**6, "MFLOPs")):
        if flops >= size:
            return f"{flops / size:.1f} {unit}"
    return f"{flops:,} FLOPs"


def check_text(
    spec: Spec,
    checked: Sequence[Checked],
    bad: Sequence[tuple[str, str]] = (),
    notes: Sequence[tuple[str, str]] = (),
    missing: Sequence[Problem] = (),
) -> str:
    """What `check` says of a valid spec.

    `bad` are data that cannot be read and `notes` what else is there, by source; `missing` is what a run would lack.
    """
    lints = list(dict.fromkeys(lint for phase in checked for lint in phase.lints))
    lines = (
        [f"{problem}\n" for problem in [*missing, *lints]]
        + [f"data '{name}': {said}" for name, said in [*notes, *bad]]
        + ([""] if [*notes, *bad] else [])
    )
    for title, phase in zip(titles(spec), checked, strict=True):
        networks = [
            (name, model.graph.spec.template, *parameters_text(phase, name).split(" ", 1))
            for name, model in phase.networks.items()
        ]
        if phase.tied_parts:
            networks.append(("together", "", f"{sum(map(phase.own_parameters, phase.networks)):,}", "parameters"))
        lines += [title, *table(networks, indent="  ", right=frozenset({2}))]
    return "\n".join([*lines, f"{_some(len(bad) + len(missing), 'error')}, {_some(len(lints), 'warning')}"])


def _some(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'s' * (count != 1)}"


def check_json(
    spec: Spec,
    checked: Sequence[Checked],
    bad: Sequence[tuple[str, str]] = (),
    notes: Sequence[tuple[str, str]] = (),
    missing: Sequence[Problem] = (),
) -> dict[str, Any]:
    """What `check` found, as plain data. Networks, values and updates are those of the last phase."""
    last = checked[-1]
    lints = list(dict.fromkeys(lint for phase in checked for lint in phase.lints))
    errors = [{"code": "data", "severity": "error", "message": problem, "source": name} for name, problem in bad]
    found = {
        "networks": {name: _network_json(last, name) for name in last.networks},
        "parameters": sum(map(last.own_parameters, last.networks)),
        "values": {name: list(kind.shape) for name, kind in _named_types(last).items()},
        "updates": [_update_json(update) for update in last.graph.spec.updates],
        "lints": [lint.as_json() for lint in lints],
        "errors": [*errors, *(problem.as_json() for problem in missing)],
        "notes": [{"message": note, "source": name} for name, note in notes],
    }
    return {"name": spec.name, "profile": spec.profile, "variant": spec.variant, **found}


def invalid_json(source: str, profile: str | None, variant: str | None, problems: Iterable[Problem]) -> dict[str, Any]:
    """`check_json` of a spec that is not valid."""
    found: dict[str, list[Any]] = {"error": [], "warning": []}
    for problem in problems:
        found[problem.severity].append(problem.as_json())
    return {"name": source, "profile": profile, "variant": variant or "", "networks": {}, "parameters": 0, "values": {},
            "updates": [], "lints": found["warning"], "errors": found["error"], "notes": []}  # fmt: skip


def _network_json(checked: Checked, name: str) -> dict[str, Any]:
    """A network's numbers; `parameters` are all that it has, `shared` how many of them stand in another's parts."""
    model = checked.networks[name]
    shared = {tie.part: {"owner": tie.owner, "parameters": tie.parameters} for tie in checked.tied_parts.get(name, ())}
    found = {"parameters": model.parameters, "flops": model.flops, "template": model.graph.spec.template,
             "inputs": [list(shape) for shape in model.input_shapes]}  # fmt: skip
    made = model.graph.spec
    origin = {"weights": weights_text(made.weights), "frozen": made.frozen} if made.weights is not None else {}
    return {**found, **({"shared": shared} if shared else {}), **origin}


def _update_json(update: UpdateSpec) -> dict[str, Any]:
    timing = {key: _timing_json(key, update.timing) for key in SCHEDULE_KEYS}
    return {
        "name": update.name,
        "objectives": {each.group: f"{aim(each.sign)} {unparse(each.expression)}" for each in update.objectives},
        "unroll": {
            each.group: {
                "update": ahead.objective.group,
                "objective": f"{aim(ahead.objective.sign)} {unparse(ahead.objective.expression)}",
                "steps": ahead.steps,
            }
            for each in update.objectives
            if (ahead := each.unroll) is not None
        },
        "ahead": update.ahead,
        "draw": None if update.draw is None else [name for name, _ in update.draw],
        **timing,
        "options": {name: unparse(value) for name, value in update.options.items()},
        "then": [unparse(item) for item in update.then],
    }


def _timing_json(key: str, timing: Timing) -> str | int | None:
    """What is written of a key of a schedule, which is a number where it is known before the run."""
    if SCHEDULE_KEYS[key].takes == "static":
        return timing.number(key)
    return None if (written := timing.written(key)) is None else unparse(written)


__all__ = [
    "check_json", "check_text", "introduction", "invalid_json", "layer_rows", "parameters_text",
    "shapes_text", "spec_text", "titles",
]  # fmt: skip
