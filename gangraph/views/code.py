"""A program as Python: each segment as a function, and the lines that drive it.

What is printed runs, given the names that its first lines list; a test runs it beside the engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gangraph.build.optimizers import schedules
from gangraph.errors import listed
from gangraph.graph.arguments import Ref
from gangraph.graph.code_names import module_name
from gangraph.graph.groups import assign
from gangraph.graph.parts import paths_at
from gangraph.language.expression.model import unparse
from gangraph.language.spec import VARIABLE
from gangraph.update_options import UPDATE_OPTIONS
from gangraph.views.code_given import given
from gangraph.views.code_lines import call_lines, code_name, spaced, under_condition
from gangraph.views.moments import all_of, condition, now, repetitions_text
from gangraph.views.wording import counted
from gangraph.vocabulary.parameters import PARAMETER_OPERATIONS

if TYPE_CHECKING:
    from gangraph.graph.model import Graph
    from gangraph.graph.update import ObjectiveGraph, UpdateGraph
    from gangraph.lower.model import Lowered, Program
    from gangraph.plan.model import LookaheadPlan, Segment, UpdatePlan


def code_text(program: Program, *, title: str = "") -> str:
    """One step of training as Python."""
    return "\n".join(_Writer(program).lines(title)).rstrip()


class _Writer:
    """Writes functions and driving lines, and keeps the two kinds of names apart."""

    def __init__(self, program: Program) -> None:
        self.program, self.plan = program, program.plan
        self.graph: Graph = program.plan.checked.graph
        self.imports: dict[str, set[str]] = {"gangraph.run.networks": set()}
        starts = [program.starts] if program.starts is not None else []
        segments = [*program.segments.values(), *starts]
        self.forms = program.forms
        values = {code_name(name) for lowered in segments for name in (*lowered.reads, *lowered.writes)}
        self.taken = values | set(self.forms)
        self.functions = {
            name: f"compute_{name}" if name in self.taken else name
            for name in (code_name(each.segment.name) for each in segments)
        }

    def lines(self, title: str) -> Iterator[str]:
        """The whole text; the updates are written first, since they know what to import."""
        updates = [line for index in range(len(self.plan.step)) for line in self._update(index)]
        start = [*self._draw(self.plan.sources), *self._numbers()]
        if self.plan.moves:
            updates += ["", "", "# The step ends: all states move at once.", "states |= after"]
        begins = [*self._begin()]
        yield f'"""One step of {title or self.graph.spec.name}, as gangraph runs it.'
        yield from (
            "",
            *given(self.plan, self.forms, "\n".join([*start, *begins, *updates])),
            '"""',
            "",
            "import torch",
            "",
        )
        for module, names in sorted(self.imports.items()):
            yield from [f"from {module} import {', '.join(sorted(names))}"] if names else []
        yield from ("", "# The step begins.", *start, *begins, *updates)

    def _begin(self) -> Iterator[str]:
        """Lines that compute the first values of variables, before the first step of a run."""
        code, starts = self.program.starts, self.graph.starts
        if code is not None:
            yield from ("", "", *self._function(code), "", "")
        if starts:
            yield "if step == 0:  # unless a phase before this one has left the variables"
        if code is not None:
            sources = dict.fromkeys(n.target for name in code.segment.inputs if (n := self.graph.nodes[name]).is_source)
            yield from self._draw((name for name in sources if name not in self.plan.sources), "    ")
            for call in (name for name in code.segment.nodes if self.graph.nodes[name].is_call):
                yield from self._noise([call], "    ")
            made = ", ".join(map(code_name, code.writes))
            function = self.functions[code_name(code.segment.name)]
            yield from call_lines(f"    {made} = {function}", list(map(code_name, code.reads)), "")
        for name, start in starts.items():
            own = f"{module_name(name)}.{VARIABLE}"
            value = code_name(start.id) if isinstance(start, Ref) else f"torch.tensor({start}, dtype={own}.dtype)"
            yield f"    {own}.data.copy_({value})"

    def _numbers(self) -> Iterator[str]:
        """Lines for the numbers over time, and the states, that the step uses."""
        for node in self.graph.nodes.values():
            if node.expression is not None:
                yield f"{code_name(node.id)} = torch.tensor({now(node.expression)})"
        read = {name for update in self.plan.step for segment in update.segments for name in segment.inputs}
        read |= {name for update in self.plan.step for name in update.graph.roots}
        for node in self.graph.nodes.values():
            if node.is_state and node.id in read:
                yield f'{code_name(node.id)} = states["{node.target}"]'
        yield from ["after = {}"] * bool(self.plan.moves)

    def _import(self, made: object) -> str:
        """Import a function; the name under which no value hides it."""
        name: str = made.__name__  # type: ignore[attr-defined]  # functions have it
        hidden = name in self.taken or name in self.functions.values()
        hidden |= any(name in names for module, names in self.imports.items() if module != made.__module__)
        self.imports.setdefault(made.__module__, set()).add(f"{name} as {name}_of" if hidden else name)
        return f"{name}_of" if hidden else name

    def _update(self, index: int) -> Iterator[str]:
        update = self.plan.step[index]
        kinds = self.graph.spec.optimizers
        steps = listed(
            f"{kinds[each.group].kind} on {listed(self.graph.trained(each))}" for each in update.graph.objectives
        )
        if update.graph.states:
            yield from ("", "", f"# What {listed(name for name, _ in update.graph.states)} will be.")
        else:
            yield from ("", "", f"# Update {index + 1} of {len(self.plan.updates)}: {update.graph.name}, by {steps}.")
        yield from (
            f"# {_name(self.graph, each.value)} is from {self.graph.title(each.source)}: {each.why}."
            for each in update.reuses
        )
        for number, segment in enumerate(update.segments):
            for ahead in segment.lookaheads:
                yield from ("", *self._function(self.program.segments[ahead.each.name]), "", "", *self._steps(ahead))
            gap = 2 if number or segment.lookaheads else 1
            yield from (*([""] * gap), *self._function(self.program.segments[segment.name]))
        yield from ("", "")
        yield from self._drive(index, update)
        if update.frees:
            yield f"# Nothing reads these any more: {', '.join(map(code_name, update.frees))}."

    def _steps(self, ahead: LookaheadPlan) -> Iterator[str]:
        """The loop of a lookahead as a function of what each of its steps reads."""
        graph = ahead.graph
        self.imports.setdefault("gangraph.run.lookahead", set()).add("Ahead")
        reads = list(map(code_name, self.program.segments[ahead.each.name].reads))
        kind = self.graph.spec.optimizers[graph.group].kind
        steps, flow = counted(graph.steps, "step"), "gradients flow" if ahead.live else "no gradient flows"
        yield from call_lines(f"def {ahead.called}", reads, ":")
        yield f'    """{listed(graph.networks)} after {steps} of {kind}, then forgotten, through which {flow}."""'
        yield f'    ahead = Ahead.of(optimizers["{graph.group}"], [{", ".join(map(module_name, graph.networks))}])'
        yield f"    for _ in range({graph.steps}):"
        yield from call_lines(f"        loss = {self.functions[code_name(ahead.each.name)]}", ["ahead", *reads], "")
        yield f"        ahead = ahead.step(loss, through={ahead.live})"
        yield "    return ahead"

    def _function(self, lowered: Lowered) -> Iterator[str]:
        """A segment as a function of the values it reads."""
        code = lowered.graph.python_code("self")
        functions = {
            name: made for name, made in code.globals.items() if callable(made) and hasattr(made, "__module__")
        }
        functions = {name: made for name, made in functions.items() if f"{name}(" in code.src}
        called = {name: self._import(made) for name, made in functions.items()}
        taken = {*called.values(), *lowered.called, "torch"}
        source = "\n".join(re.sub(r";  [\w = ]+ = None$", "", line) for line in code.src.split("\n") if line.strip())
        for node in lowered.graph.nodes:
            if node.name in taken:
                source = re.sub(rf"(?<![\w.]){node.name}\b", f"{node.name}_value", source)
        for name, short in called.items():
            source = re.sub(rf"(?<![\w.]){name}\(", f"{short}(", source)
        given = {str(node.target): node.name for node in lowered.graph.nodes if node.op == "placeholder"}
        _, *body = re.sub(r"\bself\.", "", source).split("\n")
        body = [line for line in body if line.strip() not in {f"{name} = {target}" for target, name in given.items()}]
        name = self.functions[code_name(lowered.segment.name)]
        yield from call_lines(f"def {name}", list(given.values()), ":")
        yield f'    """{lowered.segment.purpose[:1].upper()}{lowered.segment.purpose[1:]}."""'
        yield from map(spaced, body)

    def _drive(self, index: int, update: UpdatePlan) -> Iterator[str]:
        """The lines around the functions: when they run, on which draws, and what follows from the gradients."""
        graph, indent = update.graph, ""
        guards = ((key, value) for key, value in graph.timing if key.function is not None)
        if conditions := [condition(key, value, self._import) for key, value in guards]:
            yield f"if {all_of(conditions)}:"
            indent = "    "
        times, micro = graph.timing.written("times"), graph.accumulate
        if times is not None:
            yield f"{indent}for repetition in range({repetitions_text(times)}):"
            indent += "    "
        if micro > 1:
            yield f"{indent}for part in range({micro}):"
        inside = indent + ("    " if micro > 1 else "")
        counters = (["repetition"] if times is not None else []) + (["part"] if micro > 1 else [])
        first = " or ".join(f"{counter} > 0" for counter in counters)
        if index > 0:
            yield from self._draw(update.redraws, inside)
        elif first and update.redraws:
            yield f"{inside}if {first}:  # the step has drawn the first time"
            yield from self._draw(update.redraws, inside + "    ")
        yield from self._noise(update.noise, inside)
        for ahead in graph.lookaheads:
            yield from (f"{inside}{line}" for line in self._options(ahead.group))
        if update.before and first:
            yield f"{inside}if not ({first}):"
        for segment in update.before:
            yield from self._run(segment, inside + ("    " if first else ""))
        if graph.reevaluated:
            yield from self._again(update, inside)
        for segment in update.body:
            yield from self._run(segment, inside)
        yield from self._decide(index, update, inside)
        yield from self._gradients(update, inside)
        yield from self._apply(update, indent)
        for name, node in update.graph.states:
            yield f'{indent}after["{name}"] = {code_name(node)}.detach()'

    def _again(self, update: UpdatePlan, indent: str) -> Iterator[str]:
        """Lines that evaluate an update once more, at other parameters."""
        self.imports.setdefault("gangraph.run.again", set()).add("Again")
        yield f"{indent}def once_more():"
        for segment in update.body:  # whose histories the first evaluation has mixed
            yield from self._compute(segment, f"{indent}    ")
        yield from self._gradients(update, f"{indent}    ")
        yield f"{indent}    return {code_name(update.graph.objectives[0].loss)}.detach()"
        yield ""
        called = dict.fromkeys(map(module_name, (*update.differentiated, *update.frozen)))
        yield f"{indent}again = Again([{', '.join(called)}], once_more)  # each time from the buffers as they are now"

    def _from_several_points(self, graph: UpdateGraph, indent: str) -> Iterator[str]:
        """Lines that step an update with gradients taken at other points."""
        imports = self.imports.setdefault("gangraph.run.again", set())
        groups = [each.group for each in graph.objectives]
        if graph.closure:
            imports.add("Closure")
            yield from (f"{indent}{line}" for line in self._options(groups[0]))
            first = f"{code_name(graph.objectives[0].loss)}.detach()"
            yield f'{indent}optimizers["{groups[0]}"].step(Closure(again, {first}))'
            return
        imports.update(("kept", "look_ahead"))
        steps = [f"    {line}" for each in graph.objectives for line in self._step(graph, each)]
        yield f"{indent}def take():"
        yield from (f"{indent}{line}" for line in steps)
        yield ""
        every = ", ".join(f'*parameters_of("{group}")' for group in groups)
        yield f"{indent}with kept([{every}]) as put_back:"
        listed_all = ", ".join(f'optimizers["{group}"]' for group in groups)
        yield f"{indent}    look_ahead({graph.ahead}, take, again, [{listed_all}])"
        yield f"{indent}    put_back()"
        yield from (f"{indent}{line}" for line in steps)

    def _decide(self, index: int, update: UpdatePlan, indent: str) -> Iterator[str]:
        """The lines that decide which groups step, where some may not."""
        graph = update.graph
        if graph.gated:
            looked = "".join(f", {name}={code_name(node)}" for name, node in graph.watched)
            yield f"{indent}opened = decide({index}{looked})"
            gates = ((name or "every group", gate) for name, gate in graph.gates.items() if gate is not None)
            yield from (f"{indent}# {name}: {unparse(gate)}" for name, gate in gates)

    def _draw(self, sources: Iterable[str], indent: str = "") -> Iterator[str]:
        for source in sources:
            nodes = [node for node in self.graph.nodes.values() if node.is_source and node.target == source]
            if len(nodes) == 1:
                field = f'["{nodes[0].field}"]' if nodes[0].id != source else ""
                yield f'{indent}{code_name(nodes[0].id)} = draw("{source}"){field}'
            elif nodes:
                yield f'{indent}{code_name(source)} = draw("{source}")'
                yield from (f'{indent}{code_name(node.id)} = {code_name(source)}["{node.field}"]' for node in nodes)

    def _noise(self, calls: Iterable[str], indent: str) -> Iterator[str]:
        """Random numbers for layers such as dropout."""
        for call in calls:
            network = self.graph.nodes[call].target
            for draw in self.plan.checked.networks[self.graph.owner(network)].draws:
                yield f'{indent}{code_name(f"{call}.{draw.name}")} = draw_noise("{network}", "{draw.path}")'

    def _run(self, segment: Segment, indent: str) -> Iterator[str]:
        for name in segment.histories:
            (source,) = self.graph.nodes[name].inputs
            yield f'{indent}{code_name(name)} = histories["{name}"].push({code_name(source)})'
        yield from self._compute(segment, indent)

    def _compute(self, segment: Segment, indent: str) -> Iterator[str]:
        """The call of a segment's function."""
        lowered = self.program.segments[segment.name]
        made = ", ".join(map(code_name, lowered.writes))
        call = self.functions[code_name(segment.name)]
        head = f"{indent}{made} = {call}" if made else f"{indent}{call}"
        yield from call_lines(head, [code_name(name) for name in lowered.reads], "")

    def _gradients(self, update: UpdatePlan, indent: str) -> Iterator[str]:
        objectives, micro, gated = update.graph.objectives, update.graph.accumulate, update.graph.gated
        for position, each in enumerate(objectives):
            loss = code_name(each.loss) + (f" / {micro}" if micro > 1 else "")
            keep = ", retain_graph=True" if position + 1 < len(objectives) else ""
            group = f'parameters_of("{each.group}")'
            lines = [f"gradients = torch.autograd.grad({loss}, {group}{keep}, allow_unused=True)"]
            lines.append(f"for parameter, grad in zip({group}, gradients, strict=True):")
            added = "grad if part == 0 else parameter.grad + grad" if micro > 1 else "grad"
            lines.append(f"    parameter.grad = {added}")
            yield from under_condition(lines, f'"{each.group}" in opened' if gated else "", indent)

    def _apply(self, update: UpdatePlan, indent: str) -> Iterator[str]:
        graph = update.graph
        if graph.reevaluated:
            yield from self._from_several_points(graph, indent)
        for each in () if graph.reevaluated else graph.objectives:
            lines = list(self._step(graph, each))
            yield from under_condition(lines, f'"{each.group}" in opened' if graph.gated else "", indent)
        for done in graph.then:
            operation, network = done.operation, done.network
            self.imports.setdefault(PARAMETER_OPERATIONS[operation].__module__, set()).add(operation)
            parts = paths_at(self.graph.networks[network].spec, done.place)
            modules = [f"{module_name(network)}.{part}" if part else module_name(network) for part in parts]
            lines = [f"{operation}({', '.join([module, *map(repr, done.numbers)])})" for module in modules]
            yield from under_condition(lines, _changed(graph, network), indent)
        for name, average in self.graph.averages.items():
            if average.of in update.differentiated:
                self.imports["gangraph.run.networks"].add("update_average")
                both = f"{module_name(name)}, {module_name(average.of)}"
                given = f'{both}, {now(average.decay)}, buffers="{average.buffers}"'
                yield from under_condition([f"update_average({given})"], _changed(graph, average.of), indent)

    def _step(self, graph: UpdateGraph, each: ObjectiveGraph) -> Iterator[str]:
        """What follows the gradient of one group: limits on it, options that move, and the optimizer."""
        yield from self._options(each.group)
        for name, value in graph.options.items():
            option = UPDATE_OPTIONS[name]
            function = option.function if isinstance(option.function, str) else self._import(option.function)
            yield f'{function}(parameters_of("{each.group}"), {now(value)})'
        yield f'optimizers["{each.group}"].step()'

    def _options(self, group: str) -> Iterator[str]:
        """The options of an optimizer that change over time, at their present values."""
        spec = self.graph.spec.optimizers[group]
        models = self.plan.checked.networks.items()
        names = {name: [path for path, _ in model.module.named_parameters()] for name, model in models}
        assigned = assign(spec, self.graph.spec.networks, names)
        for number, options in enumerate(schedules(spec, assigned.entries if spec.listed else ())):
            for option, written in options.items():
                yield f'optimizers["{group}"].param_groups[{number}]["{option}"] = {now(written)}'


def _changed(graph: UpdateGraph, network: str) -> str:
    """The condition under which an update has changed a network, or anything if the network is not its own."""
    groups = [f'"{each.group}" in opened' for each in graph.objectives if network in each.moved]
    return "" if not graph.gated else " or ".join(groups) or "opened"


def _name(graph: Graph, value: str) -> str:
    return code_name(graph.label(value)) if graph.label(value) != value else code_name(value)
