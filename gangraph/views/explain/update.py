"""Why an update runs as it does, in sentences: what its gradient passes, what it reuses, computes again and stops."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from gangraph.graph.differentiability import differentiable, flowing, is_stop
from gangraph.graph.model import Graph, Node
from gangraph.graph.update import ObjectiveGraph
from gangraph.language.expression.model import Call, Expression
from gangraph.plan.model import Plan, Segment, UpdatePlan
from gangraph.registry import optimizers
from gangraph.update_options import UPDATE_OPTIONS
from gangraph.views.calls import unstopped
from gangraph.views.decompile import Decompiled, over_values
from gangraph.views.explain.objectives import Objectives
from gangraph.views.families import listed_once, sentences_once
from gangraph.views.printers.words import written
from gangraph.views.sums import with_sums
from gangraph.views.wording import are, counted, times


def explain_update(plan: Plan, index: int) -> Iterator[str]:
    """One paragraph for each thing that a plan decides about an update."""
    story = _Story(plan, index)
    tellers: tuple[Callable[[], Iterator[str]], ...] = (
        story.lookahead, story.points, story.once, story.ahead, story.flow, story.stopped, story.reused, story.again,
        story.penalties, story.merged, story.after,
    )  # fmt: skip
    for tell in tellers:
        if sentences := list(tell()):
            yield " ".join(sentences_once(sentences))


class _Story:
    """One update of a plan, and what came before it in the step."""

    def __init__(self, plan: Plan, index: int) -> None:
        self.plan, self.index = plan, index
        self.graph: Graph = plan.checked.graph
        self.update: UpdatePlan = plan.step[index]
        self.decompiled: Decompiled = over_values(self.graph)
        self.moving = [node for node in self.graph.nodes.values() if node.of_network or node.is_source]
        self.own = [s for s in self.update.segments if s.trained == self.update.differentiated]

    def lookahead(self) -> Iterator[str]:
        """The steps of others that an objective is evaluated after."""
        goals = self.update.graph.objectives
        for goal in goals:
            if (ahead := goal.ahead) is None:
                continue
            it = "It" if len(goals) == 1 else f"The objective of {listed_once(goal.networks)}"
            through = all(plan.live for segment in self.own for plan in segment.lookaheads if plan.graph.id == ahead.id)
            moved, one = listed_once(ahead.networks), len(ahead.networks) == 1
            kind = optimizers[self.graph.spec.optimizers[ahead.group].kind].function.__name__
            yield (
                f"{it} is evaluated where {counted(ahead.steps, 'step')} of {kind} would take {moved}, to"
                f" {Objectives(self.graph).aim(ahead.loss)}, on the same draws and from the optimizer's state as it is."
                f" {'This step is' if ahead.steps == 1 else 'These steps are'} never taken: afterwards {moved}"
                f" {'is as it was' if one else 'are as they were'}."
            )
            if through:
                yield (
                    "The gradient flows through them, so it also counts how each change of"
                    f" {listed_once(goal.networks)} would change the steps: this update takes second derivatives."
                )
            else:
                yield f"They do not depend on {listed_once(goal.networks)}, so no gradient flows through them."

    def points(self) -> Iterator[str]:
        """Several points at which the objectives are computed in one update."""
        update = self.update.graph
        state = "Running statistics move in the first evaluation alone, from which all others begin as well."
        if update.ahead:
            groups = listed_once(each.group for each in update.objectives)
            yield (
                f"The gradients are taken where {counted(update.ahead, 'step')} of {groups} would lead, and applied"
                f" from here: the steps ahead are forgotten, and no gradient flows through them. {state}"
            )
        if update.closure:
            kind = optimizers[self.graph.spec.optimizers[update.objectives[0].group].kind].function.__name__
            yield f"{kind} computes the objective at several points, all on the same draws. {state}"

    def once(self) -> Iterator[str]:
        """What a repeated update computes before its repetitions."""
        calls = [name for segment in self.update.before for name in self._calls(segment)]
        if calls:
            it = "it" if len(calls) == 1 else "them"
            verb = are(len(calls) == 1)
            before = "before the evaluations" if self.update.graph.reevaluated else "before the repetitions"
            yield f"{self._texts(calls)} {verb} computed once, {before}, for nothing in them changes {it}."

    def ahead(self) -> Iterator[str]:
        """Values that are computed here with the gradient of a later update."""
        for segment in (s for s in self.update.segments if s not in self.own):
            values = [name for name in segment.outputs if name in segment.live] or list(segment.nodes[-1:])
            one = len(values) == 1
            it, gradient, constant = (
                ("it", "its gradient needs", "a constant") if one else ("them", "their gradients need", "constants")
            )
            yield (
                f"{self._values(values)} {are(one)} computed first, together with what {gradient}, because"
                f" {self._number(segment.target)} will differentiate {it}. This update uses {it} as {constant}."
            )

    def flow(self) -> Iterator[str]:
        """The calls through which gradients pass, and what is called but stays as it is."""
        goals = self.update.graph.objectives
        calls = [n for segment in self.own for n in segment.nodes if self.graph.nodes[n].of_network]
        moving = set().union(*(segment.live for segment in self.own))
        reached: set[str] = set()
        for goal in goals:
            below = self.graph.below(goal.loss)
            able = moving & differentiable(self.graph, goal.moved, below)
            live = flowing(self.graph, below, able, [goal.loss])
            reached |= live
            whose = "The gradient" if len(goals) == 1 else f"The gradient of {self._objective(goal)}"
            yield from self._flow(goal, [name for name in calls if name in live], whose, live)
        constant = [name for name in calls if name not in reached and self._owner(name) not in self.graph.starts]
        if constant:
            idle = [n for n in self._networks(constant) if n not in self.update.differentiated]
            why = f", since {listed_once(idle)} {'does' if len(idle) == 1 else 'do'} not change here" if idle else ""
            yield f"{self._texts(constant)} {are(len(constant) == 1)} computed without gradient{why}."

    def _flow(self, goal: ObjectiveGraph, calls: list[str], whose: str, live: set[str]) -> Iterator[str]:
        """How one objective's gradient gets to its networks."""
        networks = set(goal.moved)
        trained = [self._text(name) for name in calls if self._owner(name) in networks.difference(self.graph.starts)]
        trained += [self._values([each.value]) for each in self.update.reuses if each.value in live]
        later = [name for name in calls if self.graph.nodes[name].ahead]
        whole = [name for name in calls if not self.graph.networks[self._owner(name)].is_function]
        others = [name for name in whole if self._owner(name) not in networks and name not in later]
        if not trained and networks <= self.graph.starts.keys():
            yield f"{whose} reaches {listed_once(goal.networks)}."
        if trained:
            yield f"{whose} reaches {listed_once(goal.networks)} through {listed_once(dict.fromkeys(trained))}."
        if later:
            moved = listed_once(self._networks(later))
            yield f"On its way it passes through {self._texts(later)}, with {moved} looked ahead."
        if others:
            names = self._networks(others)
            stay = "stays as it is" if len(names) == 1 else "stay as they are"
            frozen = f", where {listed_once(names)} {stay}: {self._trainers(names)}" if names else ""
            yield f"On its way it passes through {self._texts(others)}{frozen}."

    def _objective(self, goal: ObjectiveGraph) -> str:
        """An objective by its name, or by whose it is."""
        node = self.graph.nodes[goal.written]
        name = self.graph.loss_names.get(node.inputs[0] if node.target == "neg" else node.id)
        return name or f"the objective of {listed_once(goal.networks)}"

    def _trainers(self, names: list[str]) -> str:
        """Who trains some networks that are frozen for an objective."""
        it = "it" if len(names) == 1 else "them"
        if set(names) & set(self.update.differentiated):
            return f"this loss is not what trains {it}"
        by = {name: [i for i, entry in enumerate(self.plan.step) if name in entry.differentiated] for name in names}
        idle = [name for name in names if not by[name]]
        at = [self._number(i) for i in sorted(set(chain.from_iterable(by.values())))]
        trained = it if not idle else listed_once([name for name in names if by[name]])
        trains = f"{listed_once(at)} train{'s' * (len(at) == 1)} {trained}" if at else ""
        return ", and ".join(
            filter(None, (trains, f"nothing trains {listed_once(idle) if at else it}" if idle else ""))
        )

    def stopped(self) -> Iterator[str]:
        """Held, detached and past values among what the objective depends on."""
        beneath = self.graph.below(*self._goals())
        nodes = [node for name, node in self.graph.nodes.items() if name in beneath]
        if held := [self._first(node) for node in nodes if node.remembers == "step"]:
            one = len(held) == 1
            was = "it was when it was" if one else "they were when they were"
            yield f"{_written(held)} {are(one)} taken as {was} first computed in this step."
        pasts: dict[str, list[Expression]] = {}
        for node in (node for node in nodes if node.remembers == "run"):
            call = self.decompiled.definition(node.id)
            value = unstopped(call) if isinstance(call, Call) else self._first(node)
            pasts.setdefault(str(node.arguments[1]), []).append(value)
        for size, values in pasts.items():
            one = len(values) == 1
            yield (
                f"{_written(values)} {are(one)} mixed with {'its' if one else 'their'} past: a buffer holds {size}"
                " older samples and, once it is full, each sample is exchanged for one of them with probability 1/2."
                if size != "0"
                else f"{_written(values)} {are(one)} not mixed with the past: the buffer has size 0."
            )
        yield from self._repeated([node for node in nodes if node.anew])
        if stops := [self._first(node) for node in nodes if is_stop(self.graph, node) and not node.remembers]:
            yield f"The spec stops the gradient at {_written(stops)}."

    def _repeated(self, nodes: list[Node]) -> Iterator[str]:
        """Values that are computed from calls of their own, and the networks that are called once more for them."""
        if values := [self.decompiled.definition(node.id) for node in nodes if node.is_same]:
            calls, one = self._networks(node.id for node in nodes if node.is_call), len(values) == 1
            called = f"{listed_once(calls)} {are(len(calls) == 1)} called once more for {'it' if one else 'them'}"
            yield f"{_written(values)} {are(one)} computed from calls of {'its' if one else 'their'} own: {called}."

    def _goals(self) -> tuple[str, ...]:
        """What the update is about: its objectives, or what states become."""
        update = self.update.graph
        return (*(each.loss for each in update.objectives), *(node for _, node in update.states))

    def _first(self, node: Node) -> Expression:
        """The value that a node passes on; the node itself if it computes another value than its first argument."""
        return self.decompiled.of(node.inputs[0]) if node.is_same else self.decompiled.definition(node.id)

    def reused(self) -> Iterator[str]:
        """What is taken from earlier in the step, and why that is allowed."""
        groups: dict[tuple[int, tuple[str, ...]], list[str]] = {}
        for each in self.update.reuses:
            if not self.graph.nodes[each.value].remembers:
                groups.setdefault((each.source, self._beneath(each.value)), []).append(each.value)
        for (source, beneath), values in groups.items():
            one = len(values) == 1
            yield (
                f"{self._values(values)} {are(one)} not computed again: {self._number(source)} has"
                f" {'it' if one else 'them'}, and {_unchanged(beneath)} since."
            )

    def again(self) -> Iterator[str]:
        """What an earlier update computed too, and why its result cannot be used here."""
        groups: dict[str, list[str]] = {}
        for name in (name for segment in self.own for name in self._calls(segment)):
            before = [i for i in range(self.index) if any(name in s.nodes for s in self.plan.step[i].segments)]
            if before:
                groups.setdefault(self._why_again(name, before[-1]), []).append(name)
        for why, names in groups.items():
            yield f"{self._texts(names)} {are(len(names) == 1)} computed again, since {why}."

    def _why_again(self, name: str, before: int) -> str:
        """What has changed beneath a value since update number `before` computed it."""
        beneath = self.graph.below(name)
        sources = {self.graph.nodes[n].target for n in beneath if self.graph.nodes[n].is_source}
        networks = {self._owner(n) for n in beneath if self.graph.nodes[n].of_network}
        passed = self.plan.step[before : self.index]
        changed = [n for n in self.graph.networks if n in networks and any(n in u.differentiated for u in passed)]
        drawn = [
            n for n in self.graph.sources
            if n in sources and any(n in u.redraws for u in self.plan.step[before + 1 : self.index + 1])
        ]  # fmt: skip
        reasons = [f"{listed_once(changed)} {'has' if len(changed) == 1 else 'have'} changed"] if changed else []
        told = dict.fromkeys(map(self._source, drawn))
        reasons += [f"{listed_once(told)} {are(len(told) == 1)} new"] if drawn else []
        return " and ".join(reasons) or self._why_not_kept(before)

    def _why_not_kept(self, before: int) -> str:
        """Why a value that is the same as in update number `before` is not taken from there."""
        timing = self.plan.step[before].graph.timing
        if timing.conditional:
            return f"{self._number(before)} may not have run"
        if timing.repeated:
            return f"{self._number(before)} repeats and keeps nothing for later ones"
        return "here its gradient is needed as well"

    def penalties(self) -> Iterator[str]:
        """Gradients that are differentiated, and those through which nothing is."""
        for segment in self.own:
            through = flowing(self.graph, segment.nodes, segment.live, segment.outputs)
            for name in segment.nodes:
                if self.graph.nodes[name].is_gradient:
                    yield self._penalty(name, differentiated=name in through)

    def _penalty(self, name: str, *, differentiated: bool) -> str:
        """A gradient in the objective, and whether the objective's gradient flows through it."""
        gradient = self.decompiled.definition(name)
        assert isinstance(gradient, Call)
        output, at = map(written, gradient.arguments)
        of = f"The objective contains a gradient, that of {output} with respect to {at}."
        if differentiated:
            return (
                f"{of} To lower it, that gradient is differentiated in its turn: this update takes a second derivative."
            )
        return f"{of} It is a number here: no gradient flows through it, so no second derivative is taken."

    def merged(self) -> Iterator[str]:
        """Calls that run as one."""
        for group in (group for segment in self.update.segments for group in segment.merges):
            yield f"{self._texts(group)} run as one call on a batch {times(len(group))} as large."

    def after(self) -> Iterator[str]:
        """Noise, limits on the gradient, and what follows the optimizer's step."""
        graph = self.update.graph
        if self.update.noise:
            yield f"Random layers take new noise in {self._texts(self.update.noise)}."
        for name, value in graph.options.items():
            option = UPDATE_OPTIONS[name]
            yield option.told(option.sentence, written(value))
        for each in graph.then:
            inside = ", ".join([each.place.written, *map(str, each.numbers)])
            yield f"After the step of the optimizer, {each.operation}({inside}) is applied."
        for name, average in self.graph.averages.items():
            if average.of in self.update.differentiated:
                yield f"{name}, the average of {average.of}, follows."
        if len(graph.objectives) > 1:
            yield "Every gradient is taken before any parameter changes: the players move at the same time."

    def _calls(self, segment: Segment) -> list[str]:
        return [name for name in segment.nodes if self.graph.nodes[name].is_call]

    def _owner(self, call: str) -> str:
        return self.graph.owner(self.graph.nodes[call].target)

    def _networks(self, calls: Iterable[str]) -> list[str]:
        """The networks with layers that some calls are of."""
        called = {self.graph.nodes[name].target for name in calls}
        functions = {name for name, network in self.graph.networks.items() if network.is_function}
        return [name for name in self.graph.spec.networks if name in called - functions]

    def _beneath(self, name: str) -> tuple[str, ...]:
        """The networks and sources that a value depends on."""
        nodes = [each for each in self.moving if self.graph.depends(name, each.id)]
        networks = dict.fromkeys(self.graph.owner(n.target) for n in nodes if n.of_network)
        sources = dict.fromkeys(self._source(n.target) for n in nodes if n.is_source)
        return (*networks, *sources)

    def _source(self, name: str) -> str:
        if name in self.graph.spec.data:
            return name
        return f"the random numbers of {name.partition('.')[0]}"

    def _number(self, index: int | None) -> str:
        assert index is not None
        update = self.plan.step[index].graph
        if update.states:
            return f"the end of the step for {listed_once(name for name, _ in update.states)}"
        return f"update {index + 1} ({update.name})"

    def _text(self, name: str) -> str:
        return written(with_sums(self.decompiled.definition(name)))

    def _texts(self, names: Iterable[str]) -> str:
        return listed_once(dict.fromkeys(map(self._text, names)))

    def _values(self, names: Iterable[str]) -> str:
        """Values by name, where they have one."""
        return _written(map(self.decompiled.of, names))


def _written(expressions: Iterable[Expression]) -> str:
    return listed_once(dict.fromkeys(written(with_sums(each)) for each in expressions))


def _unchanged(beneath: tuple[str, ...]) -> str:
    """`neither G nor z has changed`."""
    match beneath:
        case ():
            return "time stands still within a step"
        case (only,):
            return f"{only} has not changed"
        case (first, second):
            return f"neither {first} nor {second} has changed"
    return f"none of {listed_once(beneath)} has changed"
