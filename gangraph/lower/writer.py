"""Stage 6, lower: a plan to one `torch.fx` graph per segment.

Nothing toggles `requires_grad`: a network has forms that share their storage, `D` whose parameters carry gradients,
`D_frozen` whose parameters do not, and `D_fused` or `D_frozen_fused` with kernels inside; each call names the one it
means. `D_ahead` has no storage: it takes its parameters and buffers as the first argument. `D_state` gives a copy of
the buffers as they are, and `D_again` is called with such a copy in their place. `P_autoregressive` calls P for each
pixel of an image that it draws.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from gangraph.build.network import module_name, value_name
from gangraph.build.partition import Sets, after_all, after_metrics
from gangraph.check.instantiate import NetworkModel, write_op
from gangraph.check.phase import Checked
from gangraph.graph.differentiability import passed, penalties
from gangraph.graph.model import Graph, Node, with_arguments
from gangraph.graph.node import kinds
from gangraph.lower.fusing import Fusion, Kernels, fuse, fuse_network
from gangraph.plan.model import Plan, Segment

AHEAD = "_ahead"  # how the form of a network is called that takes its parameters as an argument
AGAIN = "_again"  # what the name of a network's form ends in that is called with a state, and leaves its own alone
STATE = "_state"  # what the name of a network's form ends in that gives a copy of its state
AUTOREGRESSIVE = "_autoregressive"  # what the name of a network's form ends in that draws an image pixel by pixel
UNIFORM = "uniform"  # what the numbers are called that the pixels of a drawn image are chosen by
PARAMETERS = "_parameters"  # what the name of a network's form ends in that gives its parameters as a vector


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelUse:
    """Where in a segment a kernel is used, or why not: at a value, or inside of a call of a network.

    `under` are the gradients that differentiate through it once more.
    """

    value: str
    fusion: Fusion
    under: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A network with kernels inside: `of` is the form whose parameters it has."""

    of: str
    graph: fx.Graph
    fusions: tuple[Fusion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """A segment as code: `graph` calls networks by name; `reads` and `writes` are the names of values.

    The code of one step of a lookahead takes the looked-ahead networks before what it reads. `values` are the values
    of the graph by the names of the nodes that compute them.
    """

    segment: Segment
    graph: fx.Graph
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    networks: tuple[str, ...]
    compilable: str = ""
    kernels: tuple[KernelUse, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)

    def bind(self, networks: Mapping[str, nn.Module]) -> fx.GraphModule:
        """The segment as a module over these networks."""
        return fx.GraphModule(
            {name: networks[name] for name in self.networks}, self.graph, class_name=value_name(self.segment.name)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """A part of an evaluation: `code` runs batch by batch, the ops `whole` once over all that it gave."""

    code: Lowered
    whole: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A plan with its segments as code, and the forms of networks with kernels that they call, by name.

    `evaluation` is what a look computes, `measurement` what is computed over many samples, `pictures` what
    each grid and sampler draws.
    """

    plan: Plan
    segments: Mapping[str, Lowered]
    evaluation: Looking | None
    measurement: Looking | None
    pictures: Mapping[str, Looking]
    forms: Mapping[str, Form]
    kernels: Kernels

    def network_of(self, called: str) -> str:
        """The network whose form code calls by this name."""
        called = called.removesuffix(AGAIN).removesuffix(STATE)
        plain = self.forms[called].of if called in self.forms else called.removesuffix(PARAMETERS)
        plain = plain.removesuffix(AUTOREGRESSIVE)
        return plain.removesuffix("_frozen").removesuffix(AHEAD)


def lower(plan: Plan, *, kernels: Kernels = "off") -> Program:
    """Write every segment, and the evaluation, as an fx graph, with kernels where they can be placed."""
    checked = plan.checked
    networks = _Networks({**checked.networks, **checked.evaluators}, kernels, frozenset(checked.evaluators))
    whole = [segment for update in plan.updates for segment in update.segments]
    steps = [ahead.each for segment in whole for ahead in segment.lookaheads]
    segments = {segment.name: _Writer(checked.graph, networks, segment).write() for segment in (*whole, *steps)}
    seen = checked.graph.evaluation
    evaluation = measurement = None
    pictures: dict[str, Looking] = {}
    if seen is not None:
        networks = networks.of_evaluation(checked.evaluated)
        evaluation = _looking(seen.graph, networks, "evaluate", after_metrics(seen.graph, seen.looks))
        numbers = tuple(node for _, node in seen.numbers)
        measurement = _looking(seen.graph, networks, "measure", after_all(seen.graph, numbers))
        shown = {name: tuple(node for _, node in columns) for name, columns in seen.grids.items()}
        shown |= {name: sampler.shown for name, sampler in seen.samplers.items()}
        pictures = {
            name: _looking(seen.graph, networks, name or "grid", after_metrics(seen.graph, nodes))
            for name, nodes in shown.items()
        }
    return Program(
        plan=plan,
        segments=segments,
        evaluation=evaluation,
        measurement=measurement,
        pictures=pictures,
        forms=networks.forms,
        kernels=kernels,
    )


def lower_look(checked: Checked, nodes: tuple[str, ...]) -> Looking:
    """What some values of the evaluation need and nothing else, without kernels."""
    assert checked.graph.evaluation is not None
    networks = _Networks({**checked.networks, **checked.evaluators}, "off", frozenset(checked.evaluators))
    graph = checked.graph.evaluation.graph
    return _looking(graph, networks.of_evaluation(checked.evaluated), "look", after_metrics(graph, nodes))


def _looking(graph: Graph, networks: "_Networks", name: str, sets: Sets) -> Looking:
    return Looking(code=_Writer(graph, networks, _whole_segment(graph, name, sets.batched)).write(), whole=sets.whole)


def _whole_segment(graph: Graph, name: str, roots: tuple[str, ...]) -> Segment:
    """Everything that the roots need beyond sources and numbers over time, without gradients."""
    below, waiting = set[str](), list(roots)
    while waiting:
        if (node := waiting.pop()) not in below:
            below.add(node)
            waiting += graph.read_for(node)
    return Segment(
        name=name,
        purpose="looked at and measured",
        nodes=tuple(n for n in graph.nodes if n in below and not graph.nodes[n].is_given),
        inputs=tuple(n for n in graph.nodes if n in below and graph.nodes[n].is_given),
        outputs=tuple(dict.fromkeys(roots)),
        trained=(),
        live=frozenset(),
        detached=frozenset(),
    )


def gradient(output: Tensor, at: Tensor, *, create_graph: bool, retain_graph: bool | None = None) -> Tensor:
    """The gradient of the output's sum with respect to `at`, itself differentiable if asked."""
    (result,) = torch.autograd.grad(output.sum(), at, create_graph=create_graph, retain_graph=retain_graph)
    return result


def watch(value: Tensor) -> Tensor:
    """The value as a leaf of its own, of which a gradient can be taken."""
    return value.detach().requires_grad_()


def alias(value: Tensor) -> Tensor:
    """The value under another name, with respect to which a gradient sees only what is computed from that name."""
    return value.view_as(value)


@dataclass
class _Networks:
    """The networks of a spec, and their forms with kernels, made when a call first needs them.

    The networks `plain` have no such forms; those in `evaluated` have a form of their own, with other outputs.
    """

    models: Mapping[str, NetworkModel]
    kernels: Kernels
    plain: frozenset[str]
    evaluated: frozenset[str] = frozenset()
    forms: dict[str, Form] = field(default_factory=dict)
    _fused: dict[tuple[str, int], tuple[fx.Graph, tuple[Fusion, ...]]] = field(default_factory=dict)

    def of_evaluation(self, evaluated: Mapping[str, NetworkModel]) -> "_Networks":
        """The networks as the evaluation calls them; their forms are added to these."""
        models, own = {**self.models, **evaluated}, frozenset(evaluated)
        return _Networks(models, self.kernels, self.plain | own, own, self.forms, self._fused)

    def fused(self, owner: str, times: int) -> tuple[fx.Graph, tuple[Fusion, ...]]:
        """A network's graph with kernels, for calls that are differentiated so many times."""
        if owner in self.plain:
            return self.models[owner].module.graph, ()
        if (owner, times) not in self._fused:
            self._fused[owner, times] = fuse_network(self.models[owner], times=times, kernels=self.kernels)
        return self._fused[owner, times]

    def form(self, base: str, owner: str, times: int) -> str:
        """The name of the form that such a call uses: the plain one if no kernel fits."""
        if owner in self.evaluated:
            self.forms[f"{base}_evaluated"] = Form(of=base, graph=self.models[owner].module.graph, fusions=())
            return f"{base}_evaluated"
        if self.kernels == "off":
            return base
        graph, fusions = self.fused(owner, times)
        placed = tuple(fusion for fusion in fusions if not fusion.why_not)
        if not placed:
            return base
        name = f"{base}_fused" if times == 1 else f"{base}_fused_{times}"
        self.forms[name] = Form(of=base, graph=graph, fusions=placed)
        return name


class _Writer:
    """Writes the nodes of a segment in order, merged calls when the last of their inputs is there.

    The kinds of nodes ask for what is public.
    """

    def __init__(self, graph: Graph, networks: _Networks, segment: Segment) -> None:
        self.graph, self.networks, self.segment = graph, networks, segment
        self.fx = fx.Graph()
        self.written: dict[str, Any] = {}
        self.ops: dict[str, str] = {}  # the values that ops compute, by the names of their fx nodes
        self.called: dict[str, None] = {}
        self.reads: list[str] = []
        self.after = {second: first for first, second in segment.order}
        self.merge_of = {name: group for group in segment.merges for name in group}
        nodes = [graph.nodes[name] for name in segment.nodes]
        ats = {node.inputs[1] for node in nodes if node.kind == "grad"}
        self.twice = bool(segment.lookaheads or segment.moved)
        self.watched = ats - segment.live
        self.aliased = ats & segment.live if segment.moved else set()  # the moved networks are computed from the rest
        self.penalties = penalties(graph, segment.nodes, segment.live)
        self.state = self.fx.placeholder("ahead") if segment.moved else None

    def write(self) -> Lowered:
        for name in self.segment.inputs:
            self._read(name)
        self._read_noise()
        for call in self.segment.again:
            self._read(state_name(call))
        for name in self.segment.inputs:
            if name in self.segment.detached:
                self.written[name] = self.fx.call_method("detach", (self.written[name],))
            self._watch(name)
        for group in self._in_order():
            if len(group) > 1:
                self._merged(group)
            else:
                self._write(self.graph.nodes[group[0]])
        writes = (*self.segment.outputs, *map(state_name, self.segment.keeps))
        self.fx.output(tuple(self.written[name] for name in writes))
        uses = (*self._inside_networks(), *self._fuse()) if self.networks.kernels != "off" and not self.twice else ()
        self.fx.lint()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        values = {node.name: name for name, node in self.written.items() if isinstance(node, fx.Node)}
        return Lowered(
            segment=self.segment,
            graph=self.fx,
            reads=tuple(self.reads),
            writes=writes,
            networks=tuple(self.called),
            compilable=self._compilable(),
            kernels=tuple(uses),
            values={made: name for made, name in values.items() if name in self.graph.nodes},
        )

    def _compilable(self) -> str:
        """Why a segment is not compiled; nothing if it can be."""
        if self.twice or any(self.graph.nodes[name].kind == "grad" for name in self.segment.nodes):
            return "torch.compile has no double backward"
        if self.segment.again or self.segment.keeps:
            return "a call is made again from the state that it began from"
        return ""

    def _times(self, name: str) -> int:
        """How often a value is differentiated: once, and once more under each penalty."""
        return 1 + len(self.penalties.get(name, ()))

    def _fuse(self) -> Iterator[KernelUse]:
        """Place kernels among the segment's own ops."""
        times = {node: self._times(name) for node, name in self.ops.items()}
        for fusion in fuse(self.fx, times=lambda node: times[node], kernels=self.networks.kernels):
            value = self.ops[fusion.node]
            yield KernelUse(value=value, fusion=fusion, under=self.penalties.get(value, ()))

    def _inside_networks(self) -> Iterator[KernelUse]:
        """The kernels inside of each call of a network."""
        for name in self.segment.nodes:
            node = self.graph.nodes[name]
            if node.kind == "network":
                for fusion in self.networks.fused(self.graph.owner(node.target), self._times(name))[1]:
                    yield KernelUse(value=name, fusion=fusion, under=self.penalties.get(name, ()))

    def _read(self, name: str) -> Any:
        self.reads.append(name)
        self.written[name] = node = self.fx.placeholder(value_name(name))
        node.target = node.name  # which fx makes a Python name that is not taken, as the target need not be
        return node

    def _read_noise(self) -> None:
        """Placeholders for the random numbers that layers of the called networks take, in steps ahead as well."""
        for name in (*self.segment.nodes, *(n for ahead in self.segment.lookaheads for n in ahead.each.nodes)):
            node = self.graph.nodes[name]
            if node.kind == "network":
                for noise in self._noise(node):
                    if noise not in self.written:
                        self._read(noise)
            elif node.kind == "autoregressive":
                self._read(noise_name(name, UNIFORM))

    def _noise(self, node: Node) -> list[str]:
        """The random numbers that a call takes: one at looked-ahead networks takes those of the call as written."""
        return [noise_name(node.origin or node.id, draw.name) for draw in self._model(node).draws]

    def _in_order(self) -> list[tuple[str, ...]]:
        """The nodes, merged calls as one, in an order in which everything is computed before it is read."""
        left = [self.merge_of.get(name, (name,)) for name in self.segment.nodes]
        left = list(dict.fromkeys(left))
        done = set(self.written)
        ordered = []
        while left:
            ready = next(group for group in left if all(self._before(name) <= done for name in group))
            left.remove(ready)
            ordered.append(ready)
            done |= set(ready)
        return ordered

    def _before(self, name: str) -> set[str]:
        """What is computed before a node: what it reads, and the call that moves its state before it does."""
        return {*self.graph.read_for(name), *([self.after[name]] if name in self.after else [])}

    def _model(self, node: Node) -> NetworkModel:
        return self.networks.models[self.graph.owner(node.target)]

    def _write(self, node: Node) -> None:
        kinds[node.kind].write(self, node)
        self._watch(node.id)

    def _watch(self, name: str) -> None:
        for names, function in ((self.watched, watch), (self.aliased, alias)):
            if name in names:
                self.written[name] = self.fx.call_function(function, (self.written[name],))

    def _callee(self, node: Node) -> str:
        """The network's live form where the gradient of its parameters is taken, else its frozen form."""
        if self._given(node) and node.id not in self.segment.again:
            self.called[name := module_name(node.target) + AHEAD] = None
            return name
        base = self._base(node)
        name = base if self.twice else self.networks.form(base, self.graph.owner(node.target), self._times(node.id))
        if node.id in self.segment.again:
            name += AGAIN
        self.called[name] = None
        return name

    def _base(self, node: Node) -> str:
        is_frozen = node.target in self.graph.networks and node.target not in self.segment.trained
        return module_name(node.target) + ("_frozen" if is_frozen else "")

    def _given(self, node: Node) -> tuple[Any, ...]:
        """What a looked-ahead network, or one from an earlier state, is called with; nothing for one as it is."""
        if node.ahead:
            return (self.written[node.ahead],)
        if node.id in self.segment.again:
            return (self.written[state_name(node.id)],)
        return (self.state,) if node.target in self.segment.moved else ()

    def network(self, node: Node) -> None:
        if node.id in self.segment.keeps:
            self._keep(node)
        noise = [self.written[name] for name in self._noise(node)]
        inputs = [self.written[name] for name in node.inputs]
        self.written[node.id] = self.fx.create_node(
            "call_module", self._callee(node), (*self._given(node), *inputs, *noise), name=value_name(node.id)
        )

    def _keep(self, node: Node) -> None:
        """Copy the state that a call begins from."""
        self.called[name := self._base(node) + STATE] = None
        kept = state_name(node.id)
        self.written[kept] = self.fx.create_node("call_module", name, (), name=value_name(kept))

    def lookahead(self, node: Node) -> None:
        (ahead,) = (ahead for ahead in self.segment.lookaheads if ahead.graph.id == node.id)
        each = ahead.each
        calls = [self.graph.nodes[name] for name in each.nodes if self.graph.nodes[name].kind == "network"]
        inputs = [self.written[name] for name in each.inputs]
        noise = [self.written[name] for name in dict.fromkeys(n for call in calls for n in self._noise(call))]
        self.called[ahead.called] = None
        self.written[node.id] = self.fx.create_node(
            "call_module", ahead.called, (*inputs, *noise), name=value_name(node.id)
        )

    def parameters(self, node: Node) -> None:
        """All parameters as a vector: the live form carries their gradient, the frozen form does not."""
        name = f"{self._base(node)}{PARAMETERS}"
        self.called[name] = None
        self.written[node.id] = self.fx.create_node("call_module", name, (), name=value_name(node.id))

    def autoregressive(self, node: Node) -> None:
        """Calls of a network for each pixel: the call that the spec writes, with what was drawn so far in the image."""
        call = self.graph.drawn_from(node)
        made, image = (self.graph.nodes[name] for name in node.inputs)
        name = self.networks.form(self._base(call), self.graph.owner(call.target), 1) + AUTOREGRESSIVE
        self.called[name] = None
        inputs = [self.written[source] for source in (*call.inputs, noise_name(node.id, UNIFORM))]
        keywords: dict[str, Any] = {
            "at": tuple(index for index, source in enumerate(call.inputs) if source == image.id),
            "output": "" if made is call else made.field,
            **dict(node.keywords),
        }
        self.written[node.id] = self.fx.create_node(
            "call_module", name, tuple(inputs), keywords, name=value_name(node.id)
        )

    def _merged(self, group: tuple[str, ...]) -> None:
        """Several calls of one network as one call along the batch."""
        nodes = [self.graph.nodes[name] for name in group]
        model = self._model(nodes[0])
        columns = [[self.written[node.inputs[i]] for node in nodes] for i in range(len(nodes[0].inputs))]
        columns += [[self.written[name] for name in names] for names in zip(*map(self._noise, nodes), strict=True)]
        joined = tuple(self.fx.call_function(torch.cat, (column,)) for column in columns)
        made = self.fx.create_node("call_module", self._callee(nodes[0]), (*self._given(nodes[0]), *joined))
        if model.single:
            parts = {"": self.fx.call_method("chunk", (made, len(nodes)))}
        else:
            parts = {
                name: self.fx.call_method("chunk", (self._take(made, name), len(nodes))) for name in model.graph.outputs
            }
        for index, node in enumerate(nodes):
            taken = {name: self._take(part, index, f"{node.id}{name and '_'}{name}") for name, part in parts.items()}
            self.written[node.id] = taken[""] if model.single else taken
            self._watch(node.id)

    def _take(self, container: Any, key: int | str, name: str | None = None) -> fx.Node:
        return self.fx.create_node(
            "call_function", operator.getitem, (container, key), name=value_name(name) if name else None
        )

    def output(self, node: Node) -> None:
        call = self.written[node.inputs[0]]
        if isinstance(call, dict):
            self.written[node.id] = call[node.field]
            return
        self.written[node.id] = self._take(call, node.field, node.id)

    def operation(self, node: Node) -> None:
        self.written[node.id] = written = write_op(self.fx, node, self.written, value_name(node.id))
        self.ops[written.name] = node.id

    def gradient(self, node: Node) -> None:
        output, at = (self.written[name] for name in node.inputs)
        keywords: dict[str, Any] = {"create_graph": node.id in self.segment.live}
        if not keywords["create_graph"] and self._is_passed_again(node):
            keywords["retain_graph"] = True
        self.written[node.id] = self.fx.create_node(
            "call_function", gradient, (output, at), keywords, name=value_name(node.id)
        )

    def _is_passed_again(self, grad: Node) -> bool:
        """Whether something else is differentiated through what a gradient passes."""
        mine = passed(self.graph, *grad.inputs)
        mine |= {name for group in self.segment.merges if not mine.isdisjoint(group) for name in group}
        nodes = [self.graph.nodes[name] for name in self.segment.nodes]
        others = (node for node in nodes if node.kind == "grad" and node.id != grad.id)
        return not mine.isdisjoint(self.segment.live) or any(
            not mine.isdisjoint(passed(self.graph, *other.inputs)) for other in others
        )

    def alias(self, node: Node) -> None:
        self.written[node.id] = self.fx.call_function(alias, (self.written[node.inputs[0]],))

    def function(self, node: Node, function: Callable[..., Any]) -> None:
        arguments: Any = tuple(with_arguments(argument, self.written) for argument in node.arguments)
        keywords: Any = {key: with_arguments(value, self.written) for key, value in node.keywords}
        self.written[node.id] = self.fx.create_node(
            "call_function", function, arguments, keywords, name=value_name(node.id)
        )

    def method(self, node: Node, name: str) -> None:
        value = self.written[node.inputs[0]]
        self.written[node.id] = self.fx.create_node("call_method", name, (value,), name=value_name(node.id))


def state_name(call: str) -> str:
    """The name of the state that a network had before a call."""
    return f"{call}.state.before"


def noise_name(call: str, draw: str) -> str:
    """The name of the random numbers that a layer takes in one call of its network."""
    return f"{call}.{draw}"
