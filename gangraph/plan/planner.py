"""Stage 5, plan: what each update computes, differentiates, freezes, reuses, merges and frees.

A value is its expression under the parameters and draws in force. Its *key* lists the version of every network
and source beneath it; a tensor computed earlier in the step stands for the value exactly when the key is the
same. An update that may be skipped or repeated offers nothing to later ones, and counts as a change. One whose gate
looks at losses is always computed: it offers what it computed, and counts as a change whether it steps or not.

A call that moves state (running statistics, say) moves it once for each value: a call that is made again for the same
value begins from the state that it began from before, and moves nothing. Calls move state in the order of the graph.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace

from gangraph.build.network import module_name
from gangraph.check.phase import Checked
from gangraph.graph.differentiability import differentiable, passed
from gangraph.graph.model import Graph, UpdateGraph
from gangraph.plan.merging import merges
from gangraph.plan.model import LookaheadPlan, Plan, Reuse, Segment, UpdatePlan
from gangraph.plan.order import in_order, states

Key = frozenset[tuple[str, int]]


def plan(checked: Checked, *, share: bool = True, merge: bool = True) -> Plan:
    """Decide how a step runs.

    Args:
        share: reuse values across updates where that is the same mathematics; without it each update computes
            its own.
        merge: run several calls of one network as one call along the batch, where no layer mixes samples.
    """
    planner = _Planner(checked, share, merge)
    updates = tuple(planner.update(index) for index in range(len(checked.graph.updates)))
    used = {
        checked.graph.nodes[name].target
        for update in planner.needed
        for name in update
        if _is_source(checked.graph, name)
    }
    sources = tuple(name for name in checked.graph.sources if name in used)
    updates = _with_kept(_with_frees(checked.graph, updates))
    return Plan(checked=checked, sources=sources, updates=updates, share=share, merge=merge)


def _is_source(graph: Graph, name: str) -> bool:
    return graph.nodes[name].kind in ("stream", "random")


def _free(name: str, taken: Set[str]) -> str:
    """The name, with as many underscores behind it as make it one that is not taken."""
    while name in taken:
        name += "_"
    return name


@dataclass
class _Available:
    """A tensor that exists: the key of its value, who computed it, and for which later update it carries a gradient."""

    key: Key
    by: int
    live_for: int | None


@dataclass
class _Planner:
    checked: Checked
    share: bool
    merge: bool
    versions: dict[str, int] = field(default_factory=dict)
    available: dict[str, _Available] = field(default_factory=dict)
    noise: dict[str, Key] = field(default_factory=dict)
    stated: dict[str, Key] = field(default_factory=dict)
    again: set[str] = field(default_factory=set)
    _live_now: dict[str, int | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.graph = self.checked.graph
        self.updates = self.graph.updates
        self.moves = states(self.graph, self.checked.networks)
        self.outputs = self._outputs()
        self.needed = [self.graph.below(*update.roots) for update in self.updates]
        self.beneath = {name: self._dependencies(name) for name in self.graph.nodes}
        self.paths = self._gradient_paths()
        self.holders = self._holders()
        self.labels = self._labels()
        self.named = set(self.labels)  # the names that segments and steps ahead have so far

    def _dependencies(self, name: str) -> frozenset[str]:
        """The networks and sources that a value depends on."""
        below = self.graph.below(name)
        nodes = [self.graph.nodes[each] for each in below]
        nodes += [self.graph.nodes[n] for each in below & self.graph.lookaheads.keys() for n in self._steps(each)]
        return frozenset(
            self.graph.owner(node.target) for node in nodes if node.of_network or node.kind in ("stream", "random")
        )

    def _steps(self, name: str) -> tuple[str, ...]:
        """What the steps of a lookahead compute."""
        return self.graph.lookaheads[name].body

    def _outputs(self) -> dict[str, tuple[str, ...]]:
        """The calls that give several outputs, which are values, while what the call itself gives is none."""
        single = {name: model.single for name, model in self.checked.networks.items()}
        calls = {
            n.id: ()
            for n in self.graph.nodes.values()
            if n.kind == "network" and not single[self.graph.owner(n.target)]
        }
        found: dict[str, tuple[str, ...]] = dict(calls)
        for node in self.graph.nodes.values():
            if node.kind == "output":
                found[node.inputs[0]] += (node.id,)
        return found

    def _gradient_paths(self) -> dict[str, set[str]]:
        """For each grad node, what the gradient passes between its input and its output: computed together with it."""
        return {
            node.id: passed(self.graph, *node.inputs) | {node.inputs[0]}
            for node in self.graph.nodes.values()
            if node.kind == "grad"
        }

    def _holders(self) -> dict[int, set[str]]:
        """For each update, the held values that are fixed in it: where their value is first computed."""
        holders: dict[int, set[str]] = {}
        for node in self.graph.nodes.values():
            if node.kind != "held":
                continue
            users = [i for i, needed in enumerate(self.needed) if node.id in needed]
            certain = [
                i
                for i, needed in enumerate(self.needed)
                if node.inputs[0] in needed and not self._repeats(self.updates[i])
            ]
            if users:
                first = min([*users, *(i for i in certain if i < users[0])])
                holders.setdefault(first, set()).add(node.id)
        return holders

    def key(self, name: str, versions: Mapping[str, int]) -> Key:
        """The version of everything beneath a value."""
        if self.graph.nodes[name].kind == "held":
            return frozenset({(name, 0)})
        return frozenset((thing, versions.get(thing, 0)) for thing in self.beneath[name])

    def _repeats(self, update: UpdateGraph) -> bool:
        return update.conditional or update.accumulate > 1

    def _drawn(self, index: int) -> tuple[str, ...]:
        """The sources that an update draws anew each time it runs."""
        update = self.updates[index]
        if update.accumulate > 1 and update.draws is None:
            return tuple(self.graph.sources)
        return update.draws or ()

    def _changed(self, index: int) -> tuple[str, ...]:
        """The networks that update `index` changes: what it trains, what follows, and all that share with these."""
        then = [network for _, network, _ in self.updates[index].then]
        others = (other for network in then for other in self.graph.tied.get(network, ()))
        return tuple(dict.fromkeys((*self.updates[index].networks, *then, *others)))

    def _after(self, index: int, versions: Mapping[str, int]) -> dict[str, int]:
        """The versions once update `index` has run."""
        later = dict(versions)
        for network in self._changed(index):
            later[network] = later.get(network, 0) + 1
        return later

    def _before(self, index: int, versions: Mapping[str, int]) -> dict[str, int]:
        """The versions once update `index` has drawn. The first update's draws are the step's."""
        later = dict(versions)
        for source in self._drawn(index) if index > 0 or self._repeats(self.updates[0]) else ():
            later[source] = later.get(source, 0) + 1
        return later

    def update(self, index: int) -> UpdatePlan:
        """Plan one update, after those before it."""
        update = self.updates[index]
        self.versions = self._before(index, self.versions)
        roots = set(update.roots) | self._losses(index).keys() | self.holders.get(index, set())
        live = differentiable(self.graph, update.networks, self.needed[index])
        wanted, reused = self._to_compute(roots, live, index)
        wanted |= self._along(wanted, live, index)
        self.again = {call for call in wanted if call in self.moves and self._was_called(call)}
        for name in wanted:  # what is computed anew is no longer what it was
            self.available.pop(name, None)
        before, body = self._split(index, wanted)
        once = self._once(index, wanted, body)
        segments_before = self._segments(index, before | once, live, roots | self._inputs_of(body), "once")
        segments_body = self._segments(index, body, live, roots, "")
        noise = self._noise(wanted, index)
        self._remember(wanted, index)
        self._offer(index, wanted)
        self.versions = self._after(index, self.versions)
        differentiated = update.networks
        steps = {each for name in wanted & self.graph.lookaheads.keys() for each in self._steps(name)}
        called = {self.graph.nodes[name].target for name in wanted | steps if self.graph.nodes[name].of_network}
        return UpdatePlan(
            graph=update,
            differentiated=differentiated,
            frozen=tuple(sorted(called - set(differentiated))),
            before=segments_before,
            body=segments_body,
            redraws=tuple(
                name
                for name in self._drawn(index)
                if any(self.graph.nodes[n].target == name for n in self.needed[index])
            ),
            noise=noise,
            reuses=tuple(reused),
            losses=tuple((label, node) for node, label in self._losses(index).items()),
            frees=(),
        )

    def _losses(self, index: int) -> dict[str, str]:
        """The named losses that an update reports: node to name.

        They are those that it names, and of those that no update names the ones that it computes. One at looked-ahead
        networks is reported only where no update reports it at the networks as they are.
        """
        plain = self._reported(index)
        known = set[str]().union(*(self._reported(i).values() for i in range(len(self.updates))))
        names = {
            node: name for name, node in self.graph.losses.items() if name not in known and self._is_part(name, index)
        }
        ahead = {name: self.graph.nodes[name].origin for name in self.graph.nodes if name in self.needed[index]}
        return plain | {name: names[origin] for name, origin in ahead.items() if origin in names}

    def _reported(self, index: int) -> dict[str, str]:
        losses = self.graph.losses.items()
        return {node: name for name, node in losses if node in self.needed[index] and self._is_part(name, index)}

    def _is_part(self, loss: str, index: int) -> bool:
        """Whether an update names a loss, or none does."""
        return loss in self.updates[index].named or not any(loss in update.named for update in self.updates)

    def _to_compute(self, roots: Iterable[str], live: set[str], index: int) -> tuple[set[str], list[Reuse]]:
        """What has to be computed now, and what stands already."""
        wanted: set[str] = set()
        reused: dict[str, Reuse] = {}
        pinned = self._along_gradients(self.needed[index])
        pinned |= self._ahead(self.needed[index])
        stack = list(roots)
        while stack:
            name = stack.pop()
            if name in wanted or _is_source(self.graph, name) or self.graph.nodes[name].kind == "scalar":
                continue
            if name not in pinned and not self._moves(name, index) and self._stands(name, live, index):
                reused[name] = self._reuse(name)
                continue
            wanted.add(name)
            stack += self.graph.nodes[name].needs
        return wanted, [reused[name] for name in self.graph.nodes if name in reused]

    def _ahead(self, nodes: Iterable[str]) -> set[str]:
        """What depends on looked-ahead networks: computed together with the steps, and forgotten with them."""
        return {n for n in nodes if self.graph.nodes[n].origin or self.graph.nodes[n].kind == "lookahead"}

    def _stands(self, name: str, live: set[str], index: int) -> bool:
        have = self.available.get(name)
        if name in self.outputs or have is None or have.key != self.key(name, self.versions):
            return False
        stateful = self.graph.nodes[name].kind in ("held", "history")
        return (self.share or stateful) and (name not in live or have.live_for == index)

    def _along(self, wanted: set[str], live: set[str], index: int) -> set[str]:
        """What the calls that are made give beside what is wanted, and this or a later update needs.

        A call with several outputs is no value that could be kept; each of its outputs is.
        """
        later = set[str]().union(*self.needed[index:])
        given = {name for call in wanted & self.outputs.keys() for name in self.outputs[call]}
        return {name for name in given & later if not self._stands(name, live, index)}

    def _was_called(self, call: str) -> bool:
        """Whether a call surely was made before in this step for the value that it is now."""
        return self.stated.get(call) == self.key(call, self.versions)

    def _remember(self, wanted: set[str], index: int) -> None:
        """Note for which values calls have moved their state."""
        for call in wanted & self.moves.keys():
            if self._offers(index):
                self.stated[call] = self.key(call, self.versions)
            elif not self._was_called(call):
                self.stated.pop(call, None)

    def _reuse(self, name: str) -> Reuse:
        have = self.available[name]
        if self.graph.nodes[name].kind == "held":
            return Reuse(value=name, source=have.by, why="it is held as it was when first computed")
        beneath = " ".join(sorted(self.beneath[name]))
        return Reuse(value=name, source=have.by, why=f"nothing beneath it has changed since ({beneath})")

    def _loops(self, index: int) -> bool:
        return self.updates[index].times is not None or self.updates[index].accumulate > 1

    def _moves(self, name: str, index: int) -> bool:
        """Whether a value changes while the update repeats."""
        if not self._loops(index) or self.graph.nodes[name].kind == "held":
            return False
        return bool(self.beneath[name] & {*self._changed(index), *self._drawn(index)})

    def _split(self, index: int, wanted: set[str]) -> tuple[set[str], set[str]]:
        """What does not change while the update repeats, and the rest."""
        if not self._loops(index):
            return set(), wanted
        body = self._changing(index, wanted)
        for name in list(body):
            body |= self.paths.get(name, set()) & wanted
        body = self._with_above(body, wanted)
        return wanted - body, body

    def _changing(self, index: int, wanted: set[str]) -> set[str]:
        """What is another value each time that an update repeats."""
        body = {name for name in wanted if self._moves(name, index) or self.graph.nodes[name].kind == "history"}
        return self._with_above(body | self._ahead(wanted), wanted)

    def _with_above(self, nodes: set[str], wanted: set[str]) -> set[str]:
        """Some nodes, and what among those that are wanted is computed from them."""
        found = set(nodes)
        for name in self.graph.nodes:  # in the order in which values depend on each other
            if name in wanted and any(below in found for below in self.graph.nodes[name].needs):
                found.add(name)
        return found

    def _once(self, index: int, wanted: set[str], body: set[str]) -> set[str]:
        """What is computed before the loop although it is computed again in it.

        A call under a gradient is made each time; where it is for the same value, its state moves once.
        """
        calls = (body & self.moves.keys()) - self.again - self._changing(index, wanted) if self._loops(index) else ()
        return self.graph.below(*calls) & wanted if calls else set()

    def _inputs_of(self, nodes: set[str]) -> set[str]:
        """What nodes are computed from, and what a gradient among them passes."""
        return {source for name in nodes | self._along_gradients(nodes) for source in self.graph.nodes[name].needs}

    def _along_gradients(self, nodes: set[str]) -> set[str]:
        """What the gradients among some nodes pass: it is computed together with them, also if it stands already."""
        return set[str]().union(*(self.paths[name] for name in nodes if name in self.paths))

    def _segments(
        self, index: int, nodes: set[str], live: set[str], outside: set[str], when: str
    ) -> tuple[Segment, ...]:
        """The nodes as segments: first those that later updates differentiate, then this update's own."""
        update = self.updates[index]
        segments: list[Segment] = []
        left = set(nodes)
        for later, sharable in self._shared(index, left) if not when else ():
            shared, chosen = self._first(sharable, left)
            if not shared:
                continue
            left -= chosen
            purpose = f"shared with {self.graph.title(later)}, which differentiates it"
            name = self._fresh(f"{self.labels[index]}_shared_{later + 1}")
            segments += self._staged((name, purpose), chosen, shared, outside | self._inputs_of(left), index, later)
        trained = ", ".join(name for name in update.networks if name not in update.tied)
        purpose = "computed once" if when else f"differentiated for {trained}"
        name = self._fresh(f"{self.labels[index]}_{when}") if when else self.labels[index]
        return (*segments, *self._staged((name, purpose), left, live, outside, index, index))

    def _staged(
        self, told: tuple[str, str], nodes: set[str], live: set[str], outside: set[str], index: int, target: int
    ) -> Iterator[Segment]:
        """The nodes as a segment of that name and purpose, after those that hold what its histories mix."""
        name, _ = told
        *pasts, last = self._stages(nodes)
        left = set(nodes)
        for first in filter(None, pasts):
            left -= first
            past = self._fresh(f"{name}_past"), "mixed with its past"
            yield self._segment(*past, first, live, outside | self._inputs_of(left), index, target)
        if last:
            yield self._segment(*told, last, live, outside, index, target)

    def _moving(self, nodes: Set[str]) -> list[str]:
        """The calls among some nodes that move state, in order."""
        return [name for name in self.graph.nodes if name in nodes and name in self.moves and name not in self.again]

    def _first(self, sharable: set[str], left: set[str]) -> tuple[set[str], set[str]]:
        """Of what another update differentiates, that which can be computed before all else, and what it takes.

        A call stays behind, with what is computed from it, if another moves its state before and stays behind.
        """
        shared = set(sharable)
        while True:
            chosen = left & set[str]().union(*(self.graph.below(name) for name in shared))
            chosen |= left & {name for call in chosen & self.outputs.keys() for name in self.outputs[call]}
            order = in_order(self._moving(left), self.moves)
            late = {second for first, second in order if second in chosen and first not in chosen}
            if not late:
                return shared, chosen
            shared = {name for name in shared if late.isdisjoint(self.graph.below(name))}

    def _stages(self, nodes: set[str]) -> list[set[str]]:
        """The nodes in groups between which values are mixed with their past.

        A history is mixed before the group that it is in. Only what that takes is computed earlier than in the last.
        """
        order = {second: first for first, second in in_order(self._moving(nodes), self.moves)}
        stage: dict[str, int] = {}
        for name in (name for name in self.graph.nodes if name in nodes):
            node = self.graph.nodes[name]
            after = [stage[each] for each in (*node.needs, order.get(name)) if each in stage]
            past = node.kind == "history" and not nodes.isdisjoint(node.inputs)
            stage[name] = max(after, default=0) + past
        early, waiting = (
            set[str](),
            [i for n in nodes if self.graph.nodes[n].kind == "history" for i in self.graph.nodes[n].inputs],
        )
        while waiting:
            if (name := waiting.pop()) in nodes and name not in early:
                early.add(name)
                waiting += (
                    *self.graph.nodes[name].needs,
                    *self.outputs.get(name, ()),
                    *filter(None, (order.get(name),)),
                )
        last = max(stage.values(), default=0)
        groups = [{name for name in early if stage[name] == number} for number in range(last)]
        return [*groups, nodes - set[str]().union(*groups)]

    def _labels(self) -> list[str]:
        """What the segments of each update are called: its name, numbered where another update has the same."""
        names = [update.name for update in self.updates]
        labels: list[str] = []
        for number, name in enumerate(names, 1):
            shared = names.count(name) > 1
            labels.append(_free(f"{name}_update_{number}", {*names, *labels}) if shared else name)
        return labels

    def _fresh(self, name: str, more: Set[str] = frozenset()) -> str:
        """A name that no segment has yet, nor any of `more`."""
        self.named.add(made := _free(name, self.named | more))
        return made

    def _shared(self, index: int, left: set[str]) -> Iterator[tuple[int, set[str]]]:
        """For each later update, the nodes whose graph it will take over as they are, of what is `left` by then."""
        if not self.share or self._repeats(self.updates[index]):
            return
        versions = self._after(index, self.versions)
        mine = set(self._changed(index))
        for later in range(index + 1, len(self.updates)):
            versions = self._before(later, versions)
            live = differentiable(self.graph, self.updates[later].networks, self.needed[later])
            alike = {
                n
                for n in (left & live) - self._ahead(left)
                if self.key(n, versions) == self.key(n, self.versions) and not self.beneath[n] & mine
            }
            shared = set[str]()
            for n in (n for n in self.graph.nodes if n in alike):  # each after all that its gradient passes through
                if live.intersection(self.graph.nodes[n].inputs) <= shared:
                    shared.add(n)
            if shared and not self._loops(later):
                yield later, shared
            versions = self._after(later, versions)

    def _segment(
        self, name: str, purpose: str, nodes: set[str], live: set[str], outside: set[str], index: int, target: int
    ) -> Segment:
        """Nodes that run together; what a gradient among them passes is computed with it, also if it stands already."""
        histories = tuple(n for n in self.graph.nodes if n in nodes and self.graph.nodes[n].kind == "history")
        along = self._along_gradients(nodes) - nodes
        nodes = nodes - set(histories) | along
        ordered = tuple(n for n in self.graph.nodes if n in nodes)
        inputs = tuple(n for n in self.graph.nodes if n in self._inputs_of(nodes) - nodes)
        later = set().union(*(self.needed[i] for i in range(index + 1, len(self.updates))))
        given = (n for n in ordered if n not in self.outputs and n not in along)
        outputs = tuple(n for n in given if n in outside or (n in later and self._offers(index)))
        again, order = tuple(n for n in ordered if n in self.again), in_order(self._moving(nodes), self.moves)
        self.again |= nodes & self.moves.keys()
        foreign = {n for n in inputs if n in self.available and self.available[n].live_for not in (None, target)}
        if target == index:
            foreign |= {n for n in inputs if n not in live and self._pending(n)}
        mine = frozenset(set(live) & (nodes | set(inputs)) - foreign)
        lookaheads = tuple(self._lookahead(n, index, mine) for n in ordered if n in self.graph.lookaheads)
        for n in nodes if target != index else ():
            self._live_now[n] = target if n in mine else None
        return Segment(
            name=name,
            purpose=purpose,
            target=target,
            nodes=ordered,
            inputs=inputs,
            outputs=outputs,
            trained=self.updates[target].networks,
            live=mine,
            detached=frozenset(foreign),
            merges=self._merges(target, nodes, mine, order),
            histories=histories,
            lookaheads=lookaheads,
            order=order,
            again=again,
        )

    def _lookahead(self, name: str, index: int, live: frozenset[str]) -> LookaheadPlan:
        """One step of a lookahead as a segment, which its steps run one after the other."""
        ahead, node = self.graph.lookaheads[name], self.graph.nodes[name]
        moved = differentiable(self.graph, ahead.networks, ahead.body)
        through = name in live
        own = frozenset(moved | (live & set(node.inputs) if through else set()))
        order = in_order(ahead.body, self.moves)
        each = Segment(
            name=self._fresh(f"{name}_step"),
            purpose=f"what {ahead.group} makes smaller in each step that {self.labels[index]} looks ahead",
            target=index,
            nodes=ahead.body,
            inputs=node.inputs,
            outputs=(ahead.loss,),
            trained=self.updates[index].networks if through else (),
            live=own,
            detached=frozenset(),
            merges=merges(self.graph, self.checked.networks, self.checked.types.nodes, set(ahead.body), own, order)
            if self.merge
            else (),
            moved=tuple(dict.fromkeys((*ahead.networks, *self._stateful(ahead.body)))),
            order=order,
        )
        taken = set(map(module_name, (*self.graph.spec.networks, *self.graph.nodes)))
        called = self._fresh(f"{module_name(name)}_steps", taken)
        return LookaheadPlan(graph=ahead, each=each, live=through, called=called)

    def _stateful(self, calls: Iterable[str]) -> list[str]:
        """The networks whose state some calls move."""
        return [self.graph.nodes[name].target for name in calls if name in self.moves]

    def _pending(self, name: str) -> bool:
        """Whether an input was just computed with a gradient that is another update's."""
        return self._live_now.get(name) is not None

    def _offers(self, index: int) -> bool:
        return not self._repeats(self.updates[index])

    def _offer(self, index: int, wanted: set[str]) -> None:
        """Make what was computed available to later updates, unless this one may not run."""
        for name in wanted - self._ahead(wanted):
            held = self.graph.nodes[name].kind == "held"
            if self._offers(index) or held:
                self.available[name] = _Available(self.key(name, self.versions), index, self._live_now.get(name))
            else:
                self.available.pop(name, None)
        self._live_now = {}

    def _noise(self, wanted: set[str], index: int) -> tuple[str, ...]:
        """The calls whose random layers draw anew: those whose value has changed since they surely drew."""
        drawn = []
        called = {self.graph.nodes[name].origin or name for name in wanted}
        called |= {each for name in wanted & self.graph.lookaheads.keys() for each in self._steps(name)}
        for name in self.graph.nodes:
            node = self.graph.nodes[name]
            if (
                name not in called
                or node.kind != "network"
                or not self.checked.networks[self.graph.owner(node.target)].draws
            ):
                continue
            key = self.key(name, self.versions)
            if self.noise.get(name) != key:
                self.noise.pop(name, None)
                if self._offers(index):
                    self.noise[name] = key
                drawn.append(name)
        return tuple(drawn)

    def _merges(
        self, index: int, nodes: set[str], live: frozenset[str], order: Iterable[tuple[str, str]]
    ) -> tuple[tuple[str, ...], ...]:
        """Calls that become one. Where several objectives are differentiated, each would pay for all, so none."""
        if not self.merge or len(self.updates[index].objectives) > 1:
            return ()
        return merges(self.graph, self.checked.networks, self.checked.types.nodes, nodes, live, order)


def _with_kept(updates: tuple[UpdatePlan, ...]) -> tuple[UpdatePlan, ...]:
    """Each update with the states that it keeps: those that a later call for the same value begins from."""
    asked: set[str] = set()
    planned = []
    for update in reversed(updates):
        segments = []
        for segment in reversed(update.segments):
            asked |= set(segment.again)
            kept = tuple(name for name in segment.nodes if name in asked and name not in segment.again)
            asked -= set(kept)
            segments.append(replace(segment, keeps=kept))
        ordered, count = tuple(reversed(segments)), len(update.before)
        planned.append(replace(update, before=ordered[:count], body=ordered[count:]))
    return tuple(reversed(planned))


def _with_frees(graph: Graph, updates: tuple[UpdatePlan, ...]) -> tuple[UpdatePlan, ...]:
    """Each update with only those outputs that something reads, and the values that nothing after it reads."""
    read: set[str] = set()
    planned = []
    for update in reversed(updates):
        afterwards = set(read)
        roots = {*update.graph.roots, *(node for _, node in update.losses)}
        alive = read | roots
        body = _only_read(graph, update.body, alive)
        before = _only_read(graph, update.before, alive)
        read = alive
        existing = {name for segment in (*body, *before) for name in (*segment.inputs, *segment.outputs)}
        frees = tuple(name for name in graph.nodes if name in existing - afterwards)
        planned.append(replace(update, before=before, body=body, frees=frees))
    return tuple(reversed(planned))


def _only_read(graph: Graph, segments: tuple[Segment, ...], read: set[str]) -> tuple[Segment, ...]:
    """The segments without outputs that are not in `read`, which grows by what the segments read."""
    kept = []
    for segment in reversed(segments):
        kept.append(replace(segment, outputs=tuple(name for name in segment.outputs if name in read)))
        read |= {*segment.inputs, *(graph.nodes[name].inputs[0] for name in segment.histories)}
    return tuple(reversed(kept))
