"""The code of a segment: its nodes as a `torch.fx` graph that calls networks by the names of their forms."""

import operator
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx

from gangraph.check.instantiate import NetworkModel, write_op
from gangraph.check.parameter_values import names_at, weight_at
from gangraph.errors import SpecError
from gangraph.graph.code_names import Mode, value_name
from gangraph.graph.differentiability import flowing, passed, penalties
from gangraph.graph.kind import kinds
from gangraph.graph.model import Graph, Node, with_arguments
from gangraph.graph.verify import InvariantError
from gangraph.lower.forms import Chosen, Models, NetworkForm
from gangraph.lower.fusing import fuse
from gangraph.lower.given_names import UNIFORM, noise_name, state_name
from gangraph.lower.model import KernelUse, Lowered
from gangraph.plan.grouping import in_turn
from gangraph.plan.model import Segment


def gradient(output: Tensor, at: Tensor, *, create_graph: bool, retain_graph: bool | None = None) -> Tensor:
    """The gradient of the sum of `output` with respect to `at`, in the shape of `at`; arguments as torch's."""
    (result,) = torch.autograd.grad(output.sum(), at, create_graph=create_graph, retain_graph=retain_graph)
    return result


def watch(value: Tensor) -> Tensor:
    """The value as a new leaf, with respect to which a gradient can be taken."""
    return value.detach().requires_grad_()


def alias(value: Tensor) -> Tensor:
    """A view of the value. A gradient with respect to it counts only what is computed from the view."""
    return value.view_as(value)


def write_segment(graph: Graph, models: Models, segment: Segment) -> Lowered:
    """The code of a segment of a graph, with kernels where they can be placed."""
    return _Writer(graph, models, segment).write()


class _Writer:
    """Writes the nodes of a segment in order, and merged calls as one where the last of their inputs is there.

    Its public methods are what kinds of nodes call to write themselves (`gangraph.graph.kind.Writer`).
    """

    def __init__(self, graph: Graph, models: Models, segment: Segment) -> None:
        self.graph, self.models, self.segment = graph, models, segment
        self.fx = fx.Graph()
        self.written: dict[str, Any] = {}
        self.ops: dict[str, str] = {}  # which value each fx node of an op computes
        self.called: dict[str, NetworkForm] = {}
        self.reads: list[str] = []
        self.after = {second: first for first, second in segment.order}
        self.merge_of = {name: group for group in segment.merges for name in group}
        nodes = [graph.nodes[name] for name in segment.nodes]
        ats = {node.inputs[1] for node in nodes if node.kind == "grad"}
        self.passed = {node.id: passed(graph, node) for node in nodes if node.is_gradient}
        self.passes = Counter(chain.from_iterable(self.passed.values()))  # how many gradients flow through each value
        self.twice = bool(segment.lookaheads or segment.moved)
        self.watched = ats - segment.live
        self.aliased = ats & segment.live if segment.moved else set()  # the moved networks are computed from the rest
        self.differentiated = set[str]().union(*(self.passed[n.id] for n in nodes if n.by_parameters))
        self.flowing = flowing(graph, segment.nodes, segment.live, segment.outputs)
        self.penalties = penalties(graph, segment.nodes, self.flowing)
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
        uses = (*self._inside_networks(), *self._fuse()) if self.models.kernels != "off" and not self.twice else ()
        self.fx.lint()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        values = {node.name: name for name, node in self.written.items() if isinstance(node, fx.Node)}
        return Lowered(
            segment=self.segment,
            graph=self.fx,
            reads=tuple(self.reads),
            writes=writes,
            networks=dict(self.called),
            uncompiled=self._why_uncompiled(),
            kernels=tuple(uses),
            values={made: name for made, name in values.items() if name in self.graph.nodes},
        )

    def _why_uncompiled(self) -> str:
        """Why a segment cannot be compiled; empty if it can be."""
        if self.twice or any(self.graph.nodes[name].is_gradient for name in self.segment.nodes):
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
        for fusion in fuse(self.fx, times=lambda node: times[node], kernels=self.models.kernels):
            value = self.ops[fusion.node]
            yield KernelUse(value=value, fusion=fusion, under=self.penalties.get(value, ()))

    def _inside_networks(self) -> Iterator[KernelUse]:
        """The kernels inside each call of a network."""
        for name in self.segment.nodes:
            node = self.graph.nodes[name]
            if node.is_call:
                for fusion in self.models.fused(self.graph.owner(node.target), self._times(name))[1]:
                    yield KernelUse(value=name, fusion=fusion, under=self.penalties.get(name, ()))

    def _read(self, name: str) -> Any:
        self.reads.append(name)
        self.written[name] = node = self.fx.placeholder(value_name(name))
        node.target = node.name  # which fx makes a Python name that is not taken, as the target need not be
        return node

    def _read_noise(self) -> None:
        """Add placeholders for the random numbers that layers take in each call, also in the steps of lookaheads."""
        for name in (*self.segment.nodes, *(n for ahead in self.segment.lookaheads for n in ahead.each.nodes)):
            node = self.graph.nodes[name]
            if node.is_call:
                for noise in self._noise(node):
                    if noise not in self.written:
                        self._read(noise)
            elif node.kind == "autoregressive":
                self._read(noise_name(name, UNIFORM))

    def _noise(self, node: Node) -> list[str]:
        """The names of the random numbers of a call, which its copies at looked-ahead networks share."""
        return [noise_name(node.origin or node.id, draw.name) for draw in self._model(node).draws]

    def _in_order(self) -> list[tuple[str, ...]]:
        """The nodes, merged calls as one, in an order in which everything is computed before it is read.

        Of the nodes that can be computed next, the first in the order of the segment is taken.
        """
        groups = tuple(dict.fromkeys(self.merge_of.get(name, (name,)) for name in self.segment.nodes))
        ordered, circle = in_turn(groups, self._before)
        if circle:
            names = ", ".join(name for group in circle for name in group)
            raise InvariantError(f"segment '{self.segment.name}' has no order in which {names} can be computed")
        return ordered

    def _before(self, name: str) -> set[str]:
        """The nodes that come before one: those that it reads, and the call that changes the same state before it."""
        return {*self.graph.read_for(name), *([self.after[name]] if name in self.after else [])}

    def _model(self, node: Node) -> NetworkModel:
        return self.models.models[self.graph.owner(node.target)]

    def _write(self, node: Node) -> None:
        kind = kinds.of(node)
        try:
            kind.write(self, node)
            if node.id not in self.written:
                raise TypeError("it writes no code for this node")
        except (Exception, SystemExit) as error:  # a plug-in can raise anything
            raise SpecError([kind.fault(error, kind.write, "code is written for it", node.span)]) from error
        self._watch(node.id)

    def _watch(self, name: str) -> None:
        for names, function in ((self.watched, watch), (self.aliased, alias)):
            if name in names:
                self.written[name] = self.fx.call_function(function, (self.written[name],))

    def _call(
        self, form: NetworkForm, arguments: tuple[Any, ...], keywords: dict[str, Any] | None = None, name: str = ""
    ) -> fx.Node:
        """Write a call of a form of a network; `name` is the value that it computes."""
        if self.called.setdefault(form.name, form) != form:
            raise InvariantError(
                f"segment '{self.segment.name}' has two forms of networks under the name '{form.name}'"
            )
        return self.fx.create_node(
            "call_module", form.name, arguments, keywords, name=value_name(name) if name else None
        )

    def _form(self, node: Node) -> NetworkForm:
        """The form that a call uses: with gradients where those of its parameters are needed, else frozen."""
        again = node.id in self.segment.again
        if self._given(node) and not again:
            return NetworkForm(network=node.target, mode=Mode.AHEAD)
        form = self._plain(node)
        if not self.twice:
            form = self._with_body(form, self._times(node.id))
        return form.asked(Mode.AGAIN) if again else form

    def _with_body(self, form: NetworkForm, times: int) -> NetworkForm:
        """The form with the body for calls that are differentiated `times` times."""
        return replace(form, body=self.models.body(self.graph.owner(form.network), times))

    def _plain(self, node: Node) -> NetworkForm:
        network = self.graph.networks.get(node.target)
        carries = node.target in self.segment.trained or node.id in self.differentiated
        is_frozen = network is not None and not network.is_function and not carries
        return NetworkForm(network=node.target, frozen=is_frozen)

    def _given(self, node: Node) -> tuple[Any, ...]:
        """The parameters or the state that a call is given where its network is not called as it is."""
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
        self.written[node.id] = self._call(self._form(node), (*self._given(node), *inputs, *noise), name=node.id)

    def _keep(self, node: Node) -> None:
        """Write a copy of the state that a call begins from."""
        kept = state_name(node.id)
        self.written[kept] = self._call(self._plain(node).asked(Mode.STATE), (), name=kept)

    def lookahead(self, node: Node) -> None:
        (ahead,) = (ahead for ahead in self.segment.lookaheads if ahead.graph.id == node.id)
        each = ahead.each
        calls = [self.graph.nodes[name] for name in each.nodes if self.graph.nodes[name].is_call]
        inputs = [self.written[name] for name in each.inputs]
        noise = [self.written[name] for name in dict.fromkeys(n for call in calls for n in self._noise(call))]
        self.written[node.id] = self.fx.create_node(
            "call_module", ahead.called, (*inputs, *noise), name=value_name(node.id)
        )

    def parameters(self, node: Node) -> None:
        """Write parameters of a network as one vector [P], or the weight of a layer as a matrix [outputs, the rest]."""
        form = self._chosen(node, Mode.PARAMETERS)
        if node.kind == "weight_matrix":
            stored = weight_at(node.place, self._model(node))
            assert stored is not None
            made = Chosen(place=node.field, names=(stored.name,), transposed=stored.transposed)
            form = replace(form, mode=Mode.MATRIX, chosen=made)
        self.written[node.id] = self._call(form, (), name=node.id)

    def _chosen(self, node: Node, mode: Mode) -> NetworkForm:
        """The form that gives, or differentiates by, the parameters that a node names."""
        chosen = Chosen(place=node.field, names=names_at(node.place, self._model(node)))
        return replace(self._plain(node), mode=mode, chosen=chosen)

    def autoregressive(self, node: Node) -> None:
        """Write an image that is drawn pixel by pixel, each by a call of the network on what was drawn before it."""
        call = self.graph.drawn_from(node)
        made, image = (self.graph.nodes[name] for name in node.inputs)
        inputs = [self.written[source] for source in (*call.inputs, noise_name(node.id, UNIFORM))]
        keywords: dict[str, Any] = {
            "at": tuple(index for index, source in enumerate(call.inputs) if source == image.id),
            "output": "" if made is call else made.field,
            **dict(node.keywords),
        }
        form = self._with_body(self._plain(call), 1).asked(Mode.AUTOREGRESSIVE)
        self.written[node.id] = self._call(form, tuple(inputs), keywords, name=node.id)

    def _merged(self, group: tuple[str, ...]) -> None:
        """Write several calls of one network as one call, with their inputs joined along the batch."""
        nodes = [self.graph.nodes[name] for name in group]
        model = self._model(nodes[0])
        columns = [[self.written[node.inputs[i]] for node in nodes] for i in range(len(nodes[0].inputs))]
        columns += [[self.written[name] for name in names] for names in zip(*map(self._noise, nodes), strict=True)]
        joined = tuple(self.fx.call_function(torch.cat, (column,)) for column in columns)
        made = self._call(self._form(nodes[0]), (*self._given(nodes[0]), *joined))
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
        self.written[node.id] = self.fx.create_node(
            "call_function", gradient, (output, at), self._kept(node), name=value_name(node.id)
        )

    def parameter_gradient(self, node: Node) -> None:
        (output,) = (self.written[name] for name in node.inputs)
        form = replace(self._chosen(node, Mode.GRADIENT), frozen=False)
        self.written[node.id] = self._call(form, (output,), self._kept(node), name=node.id)

    def _kept(self, grad: Node) -> dict[str, Any]:
        """What torch keeps: the graph of a gradient that is differentiated, or what it shares with another gradient."""
        if grad.id in self.flowing or self.passes[grad.id]:
            return {"create_graph": True}
        return {"create_graph": False} | ({"retain_graph": True} if self._is_passed_again(grad) else {})

    def _is_passed_again(self, grad: Node) -> bool:
        """Whether another gradient flows through the values that this one flows through."""
        own, groups = self.passed[grad.id], map(self.merge_of.get, self.passed[grad.id])
        mine = own.union(*{group for group in groups if group})
        return not mine.isdisjoint(self.segment.live) or any(self.passes[name] > (name in own) for name in mine)

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
