"""One pass through `step:` of a program: draws, updates in order, and what follows them."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from gangraph.build.optimizers import even_momentum, make_optimizer, schedules
from gangraph.data.random import RandomSource
from gangraph.errors import UsageError
from gangraph.graph.groups import Assigned, assign
from gangraph.graph.model import Graph
from gangraph.graph.parts import paths_at
from gangraph.graph.update import ObjectiveGraph
from gangraph.language.expression.schedule import Clock, evaluate, evaluate_option
from gangraph.language.update_spec import OptimizerSpec
from gangraph.lower.model import Lowered, Program
from gangraph.plan.model import Segment, UpdatePlan
from gangraph.registry import optimizers
from gangraph.run.again import Again, Closure, kept, look_ahead
from gangraph.run.arithmetic import arithmetic, require_precision
from gangraph.run.chances import Chances
from gangraph.run.draws import Draws
from gangraph.run.finite import NotFiniteError, lost
from gangraph.run.gates import Gates
from gangraph.run.given import Given
from gangraph.run.gradients import differentiate
from gangraph.run.history import History
from gangraph.run.key_values import repetitions, value_now
from gangraph.run.lookahead_steps import steps_of
from gangraph.run.networks import Networks, update_average
from gangraph.run.noise import drawn_noise
from gangraph.run.plugin_calls import telling
from gangraph.run.settings import Settings
from gangraph.run.starts import Starts, unmoved
from gangraph.run.states import States
from gangraph.run.watch import told_of, watch_values
from gangraph.update_options import UPDATE_OPTIONS, function_of
from gangraph.vocabulary.parameters import PARAMETER_OPERATIONS

Values = dict[str, Tensor]


class Engine:
    """A program with parameters, optimizers and state, ready to step."""

    def __init__(self, program: Program, networks: Networks, draws: Draws, settings: Settings) -> None:
        self.program, self.networks, self.draws, self.settings = program, networks, draws, settings
        self.graph: Graph = program.plan.checked.graph
        self.step_count = 0
        self.values: Values = {}
        self.fallbacks: dict[str, str] = {}
        groups = {  # a network that nothing calls has no layers, and a group of such has nothing to step
            name: group
            for name, group in self.graph.spec.optimizers.items()
            if any(network in networks.live for network, _ in group.networks)
        }
        assigned = {name: self._assigned(group) for name, group in groups.items()}
        self.parameters = {
            name: [networks.live[each.network].get_parameter(each.name) for each in made.parameters]
            for name, made in assigned.items()
        }
        self.entries = {name: made.entries if groups[name].listed else () for name, made in assigned.items()}
        self.optimizers = {name: self._optimizer(group) for name, group in groups.items()}
        require_precision(self.graph, settings)
        self.modules = {
            segment.name: self._bind(program.segments[segment.name])
            for update in program.plan.step
            for segment in update.segments
        }
        self.schedules = {name: schedules(group, self.entries[name]) for name, group in groups.items()}
        self.histories = {
            node.id: History(node.id, size, settings.seed)
            for node in self.graph.nodes.values()
            if node.remembers == "run" and isinstance(size := node.arguments[1], int)
        }
        self.gates = [Gates(update) for update in self.graph.updates]
        self.states = States(self.graph, settings)
        self.starts = Starts(program, networks, settings)
        self.chances = Chances(program, networks.live, torch.empty(0, dtype=settings.dtype, device=settings.device))
        self.scalars = [node for node in self.graph.nodes.values() if node.kind == "scalar"]

    def _assigned(self, group: OptimizerSpec) -> Assigned:
        """The parameters of a group, each with its entry."""
        names = {
            network: [name for name, _ in self.networks.live[network].named_parameters()]
            for network, _ in group.networks
            if network in self.networks.live
        }
        return assign(group, self.graph.spec.networks, names)

    def spec_of(self, group: str, index: int) -> OptimizerSpec:
        """A group with the options that hold for one of its parameters."""
        spec, entries = self.graph.spec.optimizers[group], self.entries[group]
        return spec.of(spec.entries[entries[index]]) if entries else spec

    def _optimizer(self, group: OptimizerSpec) -> torch.optim.Optimizer:
        with telling(f"the optimizer '{group.kind}'", group.span, optimizers[group.kind].function):
            return make_optimizer(group, self.parameters[group.name], self.entries[group.name])

    def _bind(self, lowered: Lowered) -> Callable[..., tuple[Tensor, ...]]:
        module = lowered.bind({**self.networks.callable, **self._ahead(lowered)})
        if not self.settings.compile:
            return module
        if lowered.uncompiled:
            self.fallbacks[lowered.segment.name] = lowered.uncompiled
            return module
        compiled: Callable[..., tuple[Tensor, ...]] = torch.compile(module)
        return compiled

    def _ahead(self, lowered: Lowered) -> dict[str, nn.Module]:
        return dict(steps_of(lowered, self.program, self.networks, self.optimizers))

    def step(self, clock: Clock, given: Given | None = None) -> Values:
        """Draw, run every update in order, and return the losses by name."""
        self._accept(given or {}, clock)
        self._require_batch()
        self.begin(clock)
        self.starts.waiting.clear()
        self.values.clear()
        for source in self.program.plan.sources:
            self._draw(source)
        for node in self.scalars:
            self.values[node.id] = self._scalar(evaluate(node.over_time, clock))
        self.values |= self.states.values()
        losses: Values = {}
        for index, update in enumerate(self.program.plan.updates):
            for repetition in range(repetitions(update, clock)):
                first = index == 0 and repetition == 0
                losses |= self._update(update, self.gates[index], clock, first=first, before=repetition == 0)
            for name in update.frees:
                self.values.pop(name, None)
        losses |= self._move_states(clock)
        self.step_count += 1
        return losses | self.states.numbers

    def _move_states(self, clock: Clock) -> Values:
        """Move the states that move in this step, after all updates. Returns the losses computed for it, by name."""
        losses, after = Values(), Values()
        for entry in self.program.plan.moves:
            if repetitions(entry, clock):
                self._draw_noise(entry)
                for segment in entry.segments:
                    self._run(segment)
                self._check_finite(entry)
                after |= {name: self.values[node] for name, node in entry.graph.states}
                losses |= {name: self.values[node].detach() for name, node in entry.losses}
            for name in entry.frees:
                self.values.pop(name, None)
        self.states.move(after)
        return losses

    def begin(self, clock: Clock) -> None:
        """Give variables that have no values yet those that the next step would give them."""
        if self.starts.waiting:
            for name in self.program.plan.sources:
                if not isinstance(self.draws.sources[name], RandomSource):
                    self.draws.open(name)
            self.starts.begin(self.draws.ahead(), clock, self.step_count, self.precision)

    def _require_batch(self) -> None:
        """Refuse a batch that was given, if a variable has tensors for another. Raises UsageError."""
        for name in self.program.plan.checked.per_sample:
            if self.draws.batch_now != self.draws.batch:
                has, given = f"one tensor for each of {self.draws.batch} samples", f"{self.draws.batch_now} were given"
                raise UsageError(f"the variable '{name}' has {has}; {given}")

    def _accept(self, given: Given, clock: Clock) -> None:
        """Check what is given to this step, and keep it. Raises UsageError."""
        inside, outside = self.chances.parted(given)
        self.draws.begin(outside, self._times(clock) if given else None, self.chances.known)
        updates = self.program.plan.step if inside else ()
        passes = [repetitions(each, clock) * each.graph.accumulate for each in updates]
        self.chances.begin(inside, passes, self.draws.batch_now)

    def _times(self, clock: Clock) -> dict[str, int]:
        """How often this step draws each source: once when it begins, and again before updates that ask for it."""
        times = self.starts.sources | dict.fromkeys(self.program.plan.sources, 1)
        for index, update in enumerate(self.program.plan.updates):
            passes = repetitions(update, clock) * update.graph.accumulate
            for source in update.redraws:
                times[source] = times.get(source, 0) + passes - (index == 0 and passes > 0)
        return times

    def _update(self, update: UpdatePlan, gates: Gates, clock: Clock, *, first: bool, before: bool) -> Values:
        """One parameter update: gradients of all open groups at the same parameters, then these groups step."""
        micro = update.graph.accumulate
        goals: tuple[ObjectiveGraph, ...] = ()
        for index in range(micro):
            if not (first and index == 0):
                for source in update.redraws:
                    self._draw(source)
            self._draw_noise(update)
            for ahead in update.graph.lookaheads:
                self._set_options(ahead.group, clock)
            for segment in update.before if before and index == 0 else ():
                self._run(segment)
            again = Again(self.networks.modules, partial(self._again, update)) if update.graph.reevaluated else None
            with nullcontext() if again is None else again.undone():
                for segment in update.body:
                    self._run(segment)
                self._check_finite(update)
            goals = goals if index else gates.open(clock, partial(self._number, update))
            differentiate(goals, self.values, self.parameters, index, micro)
        if again is not None:
            self._step_from_several_points(update, goals, clock, again)
        else:
            self._step(update, goals, clock)
        if goals:
            self._follow(update, {network for objective in goals for network in objective.moved}, clock)
        return {name: self.values[node].detach() for name, node in update.losses}

    def _step(
        self, update: UpdatePlan, goals: Iterable[ObjectiveGraph], clock: Clock, again: Again | None = None
    ) -> None:
        for goal in goals:
            closure = None if again is None else Closure(again, self.values[goal.loss].detach())
            self._apply(goal.group, update, clock, closure)

    def _step_from_several_points(
        self, update: UpdatePlan, goals: tuple[ObjectiveGraph, ...], clock: Clock, again: Again
    ) -> None:
        """Step with gradients taken at other points. Values stay those of this point; an error restores everything."""
        made = {name: self.values[name] for each in update.body for name in self.program.segments[each.name].writes}
        optimizers = [self.optimizers[goal.group] for goal in goals]
        parameters = [p for goal in goals for p in self.parameters[goal.group]]
        with again.undone(), kept(parameters, optimizers if update.graph.closure else ()) as put_back:
            if update.graph.ahead:
                look_ahead(update.graph.ahead, partial(self._step, update, goals, clock), again, optimizers)
                put_back()
            self._step(update, goals, clock, again if update.graph.closure else None)
            if update.graph.closure and not all(p.isfinite().all() for p in parameters):
                raise self.not_finite(update)
        self.values.update(made)

    def _again(self, update: UpdatePlan) -> Tensor:
        """The forward pass of an update and its gradients, at the parameters as they are; its first loss.

        Histories have been mixed by the first evaluation, and stay as they were then.
        """
        for segment in update.body:
            self._compute(segment)
        if not update.graph.closure:  # its optimizer may try a point that it then gives up
            self._check_finite(update)
        differentiate(update.graph.objectives, self.values, self.parameters, 0, 1)
        return self.values[update.graph.objectives[0].loss].detach()

    def _follow(self, update: UpdatePlan, changed: set[str], clock: Clock) -> None:
        """What follows the step of a group: operations on parameters, and averages of the networks that changed."""
        live = self.networks.live
        for each in update.graph.then:
            if each.network in changed or each.network not in update.differentiated:
                for part in paths_at(self.graph.networks[each.network].spec, each.place):
                    PARAMETER_OPERATIONS[each.operation](live[each.network].get_submodule(part), *each.numbers)
        for name, average in self.graph.averages.items():
            if average.of in changed:
                decay = evaluate(average.decay, clock)
                update_average(self.networks.averages[name], live[average.of], decay, buffers=average.buffers)

    def _run(self, segment: Segment) -> None:
        for name in segment.histories:
            value = self.values[self.graph.nodes[name].inputs[0]]
            self.values[name] = self.histories[name].push(value, self.chances.taken(name))
        self._compute(segment)

    def _compute(self, segment: Segment) -> None:
        """Run the code of a segment, whose histories are mixed."""
        lowered = self.program.segments[segment.name]
        with self.precision():
            made = self.modules[segment.name](*(self.values[name] for name in lowered.reads))
        self.values.update(zip(lowered.writes, made, strict=True))

    def _number(self, update: UpdatePlan, node: str) -> float:
        """The loss that decides a gate, read back from the device. Raises NotFiniteError."""
        number = float(self.values[node].detach())
        if not math.isfinite(number):
            raise self.not_finite(update)
        return number

    def _apply(self, group: str, update: UpdatePlan, clock: Clock, closure: Closure | None = None) -> None:
        self._set_options(group, clock)
        for name, value in update.graph.options.items():
            option = UPDATE_OPTIONS[name]
            number, function = value_now(option, value, clock), function_of(option)
            with telling(f"at step {clock.step}, the option '{name}'", value.span, function):
                function(self.parameters[group], number)
        even_momentum(self.optimizers[group])
        told = self.graph.spec.optimizers[group]
        with telling(f"at step {clock.step}, the optimizer '{told.kind}'", told.span, optimizers[told.kind].function):
            if closure is None:
                self.optimizers[group].step()
            else:
                self.optimizers[group].step(closure)  # type: ignore[arg-type]  # torch's annotation wants a float

    def _set_options(self, group: str, clock: Clock) -> None:
        """Give an optimizer's options that change over time their present values."""
        for chosen, parameter_group in zip(self.schedules[group], self.optimizers[group].param_groups, strict=True):
            for option, expression in chosen.items():
                parameter_group[option] = evaluate_option(expression, clock)

    def open_shares(self) -> dict[str, float]:
        """How often gated groups stepped since this was last asked for, from 0 to 1 of the times they were asked."""
        shares: dict[str, float] = {}
        for number, gates in enumerate(self.gates, 1):
            for group, share in gates.shares().items():
                shares[group if group not in shares else f"{group}, update {number}"] = share
        return shares

    def _draw(self, source: str) -> None:
        fields = self.draws.draw(source, self.step_count)
        single = len(fields) == 1
        for field, tensor in fields.items():
            self.values[source if single else f"{source}.{field}"] = tensor

    def _draw_noise(self, update: UpdatePlan) -> None:
        checked = self.program.plan.checked
        taken = self.chances.taken
        made = drawn_noise(checked, self.networks, self.draws, self.settings, update.noise, self.step_count, taken)
        self.values.update(made)

    def _scalar(self, number: float) -> Tensor:
        return torch.tensor(number, dtype=self.settings.dtype, device=self.settings.device)

    def precision(self) -> AbstractContextManager[object]:
        """The arithmetic that segments run in."""
        return arithmetic(self.settings)

    def _check_finite(self, update: UpdatePlan) -> None:
        """Stop before a NaN reaches a parameter. On CUDA the losses are checked when they are read anyway."""
        if self.settings.device.type == "cpu" and any(lost(update, self.values)):
            raise self.not_finite(update)

    def not_finite(self, update: UpdatePlan) -> NotFiniteError:
        """The error that names the first value which is not finite, found by computing the update again."""
        told = "" if update.graph.states else update.graph.name
        with unmoved(self.networks.modules):
            for name, value, place in (each for segment in update.segments for each in self._watched(segment)):
                if not value.isfinite().all():
                    return NotFiniteError(name, told, self.step_count, place)
        name, place = told_of(self.graph, next(lost(update, self.values), "") or update.graph.objectives[0].written)
        return NotFiniteError(name, told, self.step_count, place)

    def _watched(self, segment: Segment) -> Iterator[tuple[str, Tensor, str]]:
        lowered = self.program.segments[segment.name]
        if all(name in self.values for name in lowered.reads):
            inputs = [self.values[name] for name in lowered.reads]
            yield from watch_values(lowered, self.networks, inputs, self.program, self._ahead(lowered))
