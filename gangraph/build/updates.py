"""Updates: from the entries of `step:` to objectives, draws and operations on parameters."""

from collections.abc import Iterable, Iterator
from itertools import combinations, product

from gangraph.build.arguments import check_arguments
from gangraph.build.lookahead import Unrolled, with_lookahead
from gangraph.build.optimizers import unrollable
from gangraph.build.reevaluated import evaluates_again, refuse_ahead, refuse_in_closure, refuse_past
from gangraph.build.require_place import require_place
from gangraph.build.values import ValueBuilder
from gangraph.errors import give_up, nearest, refuse, shown
from gangraph.graph.groups import share_parameters
from gangraph.graph.model import Ref
from gangraph.graph.update import ObjectiveGraph, ParameterOperation, UpdateGraph
from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import constant
from gangraph.language.expression.gates import is_over_time, losses_in, verify_gate
from gangraph.language.expression.model import Expression
from gangraph.language.expression.schedule import RAMPS
from gangraph.language.place import Place, place_of
from gangraph.language.spec import NetworkSpec, PhaseSpec
from gangraph.language.tied import tied
from gangraph.language.update_spec import Objective, OptimizerSpec, Unroll, UpdateSpec
from gangraph.registry import optimizers
from gangraph.update_options import UPDATE_OPTIONS
from gangraph.vocabulary.parameters import LEAST, ORDERED, PARAMETER_OPERATIONS, numbers_of, signature_of, usage


def build_updates(values: ValueBuilder) -> tuple[UpdateGraph, ...]:
    """The step's entries, their objectives as nodes of the graph that `values` builds."""
    return tuple(_UpdateBuilder(values).all())


class _UpdateBuilder:
    """Entries of `step:` over the values and losses of a phase."""

    def __init__(self, values: ValueBuilder) -> None:
        self.values = values
        self.tied = tied(values.spec.networks)

    def all(self) -> Iterator[UpdateGraph]:
        """The step's entries, their objectives as nodes."""
        for spec in self.values.spec.updates:
            made = self.values.attempt(self._update, spec)
            if made is not None:
                yield made

    def _update(self, spec: UpdateSpec) -> UpdateGraph:
        made = [self.values.attempt(self._objective, objective) for objective in spec.objectives]
        then = tuple(self._parameter_operation(item) for item in spec.then)
        conditions = (written for key, written in spec.timing if key.takes == "condition")
        gates = [*conditions, *(objective.when for objective in spec.objectives if objective.when is not None)]
        watched = dict(pair for gate in gates for pair in self._watched(gate))
        self._verify_numbers(spec)
        objectives = tuple(objective for objective in made if objective is not None)
        if len(objectives) < len(spec.objectives):
            give_up()
        _refuse_shared(objectives, self.values.spec)
        closure = self._is_closure(spec, objectives)
        if watched and "accumulate" in spec.schedule:
            place = next(gate for gate in gates if not is_over_time(gate))
            refuse(
                "GG525",
                "a gate on losses or states is decided once, and accumulate: makes several forward passes",
                place.span,
                ast.unparse(place),
                "an update without accumulate:, or a gate over time",
            )
        return UpdateGraph(
            name=spec.name,
            objectives=objectives,
            draws=self._draws(spec),
            timing=spec.timing,
            options=spec.options,
            then=then,
            span=spec.span,
            watched=tuple(watched.items()),
            named=self._named(spec.objectives) | (watched.keys() & self.values.losses.keys()),
            closure=closure,
            ahead=spec.ahead,
        )

    def _verify_numbers(self, spec: UpdateSpec) -> None:
        """Refuse keys and options that are no numbers over time, or below the least that they take."""
        numbers = [(key, written) for key, written in spec.timing if key.takes != "condition"]
        options = [(UPDATE_OPTIONS[name], written) for name, written in spec.options.items()]
        for _, written in (*numbers, *options):
            self.values.verified(written)
        for option, written in options:
            _verify_number(written, option.least)
        for key, written in numbers:
            (_verify_number if key.takes == "number" else verify_count)(written, key.least)

    def _is_closure(self, spec: UpdateSpec, objectives: tuple[ObjectiveGraph, ...]) -> bool:
        """Whether an optimizer evaluates the update again. Refuses what does not go with more than one evaluation."""
        groups = self.values.spec.optimizers
        closure = any(evaluates_again(groups[each.group]) for each in objectives)
        if closure:
            refuse_in_closure(spec, groups)
        if spec.ahead:
            refuse_ahead(spec)
        if closure or spec.ahead:
            refuse_past(objectives, self.values.table.nodes)
        return closure

    def _named(self, objectives: Iterable[Objective]) -> frozenset[str]:
        """The losses that objectives name, themselves or in the values and losses that they name."""
        spec, found = self.values.spec, set[str]()
        waiting = [objective.expression for objective in objectives]
        while waiting:
            names = {node.id for node in ast.walk(waiting.pop()) if isinstance(node, ast.Name)} - found
            found |= names
            waiting += [section[name] for name in names for section in (spec.values, spec.losses) if name in section]
        return frozenset(found & spec.losses.keys())

    def _watched(self, gate: Expression) -> Iterator[tuple[str, str]]:
        """The losses and states that a gate reads: name and node. Raises SpecError if it cannot be decided."""
        values = self.values
        if is_over_time(gate):
            values.verified(gate)
            return
        if any(name.id in values.broken for name in losses_in(gate)):
            give_up()
        known = [*values.spec.losses, *values.spec.states]
        verify_gate(gate, known, [*values.spec.values, *values.spec.data, *values.spec.networks])
        for name in losses_in(gate):
            if name.id in values.spec.states:
                yield name.id, values.state(name.id, name.span).id
                continue
            if name.id not in values.losses:
                refuse(
                    "GG521",
                    f"the loss '{name.id}' is a constant, so this gate never changes",
                    name.span,
                    ast.unparse(values.spec.losses[name.id]),
                    "a loss that is computed",
                )
            yield name.id, values.losses[name.id]

    def _draws(self, spec: UpdateSpec) -> tuple[str, ...] | None:
        if spec.draw is None:
            return None
        drawn: list[str] = []
        for name, span in spec.draw:
            if name != "all" and name not in self.values.spec.data:
                known = ["all", *self.values.spec.data]
                refuse(
                    "GG314",
                    f"there is no source '{name}' to draw",
                    span,
                    name,
                    "one of " + ", ".join(known),
                    nearest(name, known),
                )
            drawn += self.values.sources if name == "all" else [name]
        anonymous = [name for name in self.values.sources if name not in self.values.spec.data]
        return tuple(dict.fromkeys([*drawn, *anonymous]))

    def _objective(self, objective: Objective) -> ObjectiveGraph:
        group = self._group(objective)
        value = self.values.visit(objective.expression, f"{objective.group}_objective")
        if not isinstance(value, Ref):
            refuse(
                "GG501",
                f"the objective of '{objective.group}' is a constant",
                objective.expression.span,
                shown(value),
                "a loss that depends on " + ", ".join(n for n, _ in group.networks),
            )
        if objective.sign < 0:
            value = self.values.table.add(
                "op", f"{objective.group}_objective", span=objective.expression.span, target="neg", arguments=(value,)
            )
        networks = self._group_networks(group)
        others = [name for network in networks for name in self.tied.get(network, ()) if name not in networks]
        every = self.values.spec.networks
        others = [each for each in others if share_parameters(every, group.places, [Place(each, "", group.span)])]
        made = ObjectiveGraph(
            group=objective.group,
            networks=networks,
            loss=value.id,
            written=value.id,
            span=objective.expression.span,
            tied=tuple(dict.fromkeys(others)),
            when=objective.when,
        )
        ahead = objective.unroll
        return made if ahead is None else with_lookahead(self.values, made, self._unrolled(made, ahead))

    def _group(self, objective: Objective) -> OptimizerSpec:
        """The group that an objective names. Raises SpecError if there is none."""
        groups = self.values.spec.optimizers
        if objective.group in groups:
            return groups[objective.group]
        if objective.group in self.values.broken:
            give_up()
        return refuse(
            "GG318",
            f"there is no optimizer group '{objective.group}'",
            objective.span,
            objective.group,
            "one of " + ", ".join(groups),
            nearest(objective.group, groups),
        )

    def _unrolled(self, objective: ObjectiveGraph, unroll: Unroll) -> Unrolled:
        """The steps that an objective looks ahead, with everything that is wrong with them refused."""
        inner = self._objective(unroll.objective)
        both = [name for name in inner.networks if name in objective.networks]
        if both:
            refuse(
                "GG510",
                f"group '{objective.group}' cannot look ahead of itself",
                unroll.span,
                f"group '{inner.group}', which trains {', '.join(both)} as well",
                "an optimizer group that trains other networks",
            )
        for name in inner.networks:
            if others := self.tied.get(name):
                refuse(
                    "GG515",
                    f"no objective can look ahead of '{name}', which has a part in common with {', '.join(others)}",
                    unroll.span,
                    f"group '{inner.group}' with {name}",
                    "a group of networks that have all their parts to themselves",
                )
        kind = self.values.spec.optimizers[inner.group].kind
        possible = unrollable()
        if kind in optimizers and kind not in possible:
            refuse(
                "GG511",
                f"no objective can look ahead of steps of {kind}",
                unroll.span,
                f"group '{inner.group}' with {kind}",
                "a group with " + ", ".join(possible[:-1]) + f" or {possible[-1]}",
            )
        return Unrolled(inner, unroll.steps, unroll.span)

    def _group_networks(self, group: OptimizerSpec) -> tuple[str, ...]:
        for entry in group.listed:
            if entry.place.network in self.values.networks:
                require_place(entry.place, self.values.networks[entry.place.network])
        for name, span in group.networks:
            if name in self.values.broken:
                give_up()
            if not isinstance(self.values.spec.networks.get(name), NetworkSpec):
                known = [n for n, made in self.values.spec.networks.items() if isinstance(made, NetworkSpec)]
                refuse(
                    "GG319",
                    f"'{name}' is no network with parameters to train",
                    span,
                    name,
                    "one of " + ", ".join(known),
                    nearest(name, known),
                )
        return tuple(name for name, _ in group.networks)

    def _parameter_operation(self, expression: Expression) -> ParameterOperation:
        match expression:
            case ast.Call(function=ast.Name(id=name), arguments=(where, *numbers), keywords=()) if (
                name in PARAMETER_OPERATIONS
                and len(numbers) == len(numbers_of(name))
                and (place := place_of(where)) is not None
            ):
                network = place.network
                if network in self.values.broken:
                    give_up()
                if network not in self.values.networks:
                    known = list(self.values.networks)
                    refuse(
                        "GG310",
                        f"there is no network '{network}'",
                        expression.span,
                        network,
                        "one of " + ", ".join(known),
                        nearest(network, known),
                    )
                if self.values.networks[network].spec.frozen:
                    wanted = "an optimizer group with it, or no operation on its parameters"
                    refuse("GG238", f"'{network}' is frozen", expression.span, ast.unparse(expression), wanted)
                require_place(place, self.values.networks[network])
                if "." in place.within:
                    wanted = "a network, a part of it, or a layer of a part"
                    refuse("GG321", f"'{name}' is not applied to one parameter", where.span, place.written, wanted)
                return ParameterOperation(name, place, _numbers(name, expression))
        return refuse(
            "GG321",
            "there is no such operation on parameters",
            expression.span,
            ast.unparse(expression),
            " or ".join(map(usage, PARAMETER_OPERATIONS)),
        )


def _numbers(operation: str, call: ast.Call) -> tuple[object, ...]:
    """The constant arguments of an operation on parameters. Raises SpecError where they do not fit."""
    values, signature = tuple(map(constant, call.arguments[1:])), signature_of(operation)
    check_arguments(operation, signature, values, (), call, skipped=-1, ordered=ORDERED.get(operation))
    for name, value, written in zip(signature.parameters, values, call.arguments[1:], strict=True):
        least = LEAST.get((operation, name))
        if least is not None and isinstance(value, int | float) and value < least:
            refuse("GG225", f"a number of at least {least:g} belongs here", written.span, shown(value))
    return values


def _refuse_shared(objectives: tuple[ObjectiveGraph, ...], spec: PhaseSpec) -> None:
    """Refuse parameters in two groups of one update: each would overwrite the other's gradient. Raises SpecError."""
    for first, second in combinations(objectives, 2):
        pairs = product(*(spec.optimizers[each.group].places for each in (first, second)))
        met = next((pair for pair in pairs if share_parameters(spec.networks, pair[:1], pair[1:])), None)
        if met is None:
            continue
        alone = met[0].network == met[1].network
        smaller = (met[1] if alone and met[1].is_in(met[0]) else met[0]).written
        refuse(
            "GG526",
            f"{'' if alone else 'a part of '}'{smaller}' is in two groups of one update",
            second.span,
            f"'{first.group}' and '{second.group}'",
            f"one group with {repr(smaller) if alone else 'all that share it'}, whose objective may be a sum",
        )


def _verify_number(written: Expression, least: float | None) -> None:
    """Refuse what is no number, and a constant, or an end of a ramp, below the least that a key takes.

    Other numbers over time are checked during the run. Raises SpecError.
    """
    if isinstance(written, ast.Call) and ast.unparse(written.function) in RAMPS:
        for end in written.arguments:
            _verify_number(end, least)
    value = written.value if isinstance(written, ast.Literal) else None
    small = least is not None and isinstance(value, int | float) and value < least
    if small or isinstance(value, bool):
        bound = "" if least is None else f" of at least {least:g}"
        fix = "write 1, which is what true stood for in earlier versions" if value is True else ""
        refuse("GG225", f"a number{bound} belongs here", written.span, shown(value), fix=fix)


def verify_count(written: Expression, least: float | None) -> None:
    """Refuse a constant that is no whole number, or below the least that a key takes. Raises SpecError."""
    if not isinstance(written, ast.Literal):
        return
    value = written.value
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if number is None or number % 1 or (least is not None and number < least):
        bound = "" if least is None else f" of at least {least:g}"
        refuse("GG225", f"a whole number{bound} belongs here", written.span, shown(value))
