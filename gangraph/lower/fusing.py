"""Kernels in place of chains of layers and ops: a rewriting of `torch.fx` graphs.

Each kernel states the chains that it computes (`gangraph.kernels.Pattern`). They are looked for here, the longest
first, and each is replaced by one call. A kernel is placed only where nothing reads a value from inside its chain, and
where nothing differentiates through it more often than its order allows.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, fx, nn

from gangraph.check.instantiate import NetworkModel
from gangraph.kernels import Kernel, Pattern, Step, catalogue
from gangraph.registry import vocabulary

Chain = tuple[tuple[fx.Node, Step], ...]

# `auto` places kernels that use their plain form where Triton cannot run; `on` insists; `off` places none.
Kernels = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """A chain of layers and ops that a kernel computes, or could compute but does not, for the reason `why_not`.

    `computes` are the registered names of the chain; `node` is the fx node of its result.
    """

    kernel: str
    computes: tuple[str, ...]
    node: str
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    kernel: Kernel
    pattern: Pattern
    chain: Chain

    @property
    def nodes(self) -> tuple[fx.Node, ...]:
        """The nodes of the chain, in order."""
        return tuple(node for node, _ in self.chain)

    def lies_in(self, other: "_Found") -> bool:
        """Whether it is a part of another chain."""
        return set(self.nodes) <= set(other.nodes)

    def report(self, names: Mapping[fx.Node, str], why_not: str) -> Fusion:
        computes = tuple(names[node] for node in self.nodes)
        return Fusion(kernel=self.kernel.name, computes=computes, node=self.nodes[-1].name, why_not=why_not)


def fuse(
    graph: fx.Graph,
    *,
    module: nn.Module | None = None,
    layers: Mapping[str, str] | None = None,
    times: Callable[[str], int] = lambda node: 1,
    kernels: Kernels = "auto",
) -> tuple[Fusion, ...]:
    """Place kernels in a graph, which is changed in place.

    Args:
        graph: of a network or of a segment.
        module: the network's module, from which the arguments of layers are read; None for a segment.
        layers: the registered name of the layer at each module path.
        times: how often the result of a node, given by its name, is differentiated.
        kernels: `on` to insist on their Triton form.

    Returns:
        Every chain that was found, in the order of the graph: with a kernel, or with the reason why it has none.
    """
    functions = {definition.function: name for name, definition in vocabulary.of_kind("op", "loss").items()}
    names = {node: name for node in graph.nodes if (name := _name(node, layers or {}, functions))}
    reports: list[Fusion] = []
    refused: list[_Found] = []
    for kernel, pattern in _patterns():
        for node in list(reversed(graph.nodes)):
            found = _Found(kernel, pattern, _match(node, pattern, names, module))
            if not found.chain:
                continue
            why_not = _obstacle(found, module, max(times(each.name) for each in found.nodes))
            if why_not and any(found.lies_in(other) for other in refused):
                continue  # the longer chain has the same reason
            reports.append(found.report(names, why_not))
            if why_not:
                refused.append(found)
                continue
            _replace(graph, found, module, kernels)
            for each in found.nodes:
                del names[each]
    order = {node.name: position for position, node in enumerate(graph.nodes)}
    return tuple(sorted(reports, key=lambda fusion: order.get(fusion.node, 0)))


def fuse_network(model: NetworkModel, *, times: int, kernels: Kernels) -> tuple[fx.Graph, tuple[Fusion, ...]]:
    """A copy of a network's graph with kernels, for calls that are differentiated `times` times, and what was found."""
    graph = copy.deepcopy(model.module.graph)
    layers = {path: use.name for path, use in model.graph.layers.items()}
    fusions = fuse(graph, module=model.module, layers=layers, times=lambda _: times, kernels=kernels)
    graph.lint()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return graph, fusions


def _name(node: fx.Node, layers: Mapping[str, str], functions: Mapping[Any, str]) -> str:
    """What a spec calls the layer or op of an fx node."""
    if node.op == "call_module":
        return layers.get(str(node.target), "")
    return functions.get(node.target, "") if node.op == "call_function" else ""


def _patterns() -> list[tuple[Kernel, Pattern]]:
    """Every pattern of every kernel, the longest first."""
    every = [(kernel, pattern) for kernel in catalogue() for pattern in kernel.patterns]
    return sorted(every, key=lambda each: -len(each[1].steps))


def _match(last: fx.Node, pattern: Pattern, names: Mapping[fx.Node, str], module: nn.Module | None) -> Chain:
    """The chain of a pattern that ends at the node `last`; empty if there is none."""
    chain: list[tuple[fx.Node, Step]] = []
    node: Any = last
    for step in reversed(pattern.steps):
        if isinstance(node, fx.Node) and names.get(node) == step.name:
            chain.append((node, step))
            node, _ = _arguments(node, module)
        elif not step.optional:
            return ()
    return tuple(reversed(chain))


def _obstacle(found: _Found, module: nn.Module | None, times: int) -> str:
    """Why the kernel cannot be placed; empty if it can."""
    if times > found.kernel.order:
        return f"it is differentiated {_times(times)}, and the kernel has order {found.kernel.order}"
    if shared := next((node for node in found.nodes[:-1] if len(node.users) > 1), None):
        return f"'{shared.name}' is read elsewhere too"
    for node, step in found.chain:
        _, given = _arguments(node, module)
        if other := next((name for name in given if name not in step.numbers), None):
            return f"it has no counterpart of '{other}' of {step.name}"
    return ""


def _times(count: int) -> str:
    return {2: "twice", 3: "three times"}.get(count, f"{count} times")


def _arguments(node: fx.Node, module: nn.Module | None) -> tuple[Any, dict[str, Any]]:
    """The value that a node is applied to, and all its other arguments by parameter, with defaults."""
    if node.op == "call_module":
        assert module is not None
        function: Callable[..., Any] = module.get_submodule(str(node.target)).forward
    else:
        assert callable(node.target)
        function = node.target
    bound = inspect.signature(function).bind(*node.args, **node.kwargs)
    bound.apply_defaults()
    (_, first), *others = bound.arguments.items()
    return first, dict(others)


def _numbers(graph: fx.Graph, found: _Found, module: nn.Module | None) -> Iterator[tuple[str, Any]]:
    """The kernel's parameters, from the attributes of layers and the arguments of calls."""
    yield from found.pattern.given.items()
    for node, step in found.chain:
        _, given = _arguments(node, module)
        for theirs, ours in step.numbers.items():
            if theirs in given:
                yield ours, given[theirs]
            elif node.op == "call_module":
                assert module is not None
                value = getattr(module.get_submodule(str(node.target)), theirs)
                is_tensor = isinstance(value, Tensor)
                yield ours, graph.get_attr(f"{node.target}.{theirs}") if is_tensor else value


def _replace(graph: fx.Graph, found: _Found, module: nn.Module | None, kernels: Kernels) -> None:
    """Write the kernel's call in the place of the chain."""
    first, last = found.nodes[0], found.nodes[-1]
    value, _ = _arguments(first, module)
    with graph.inserting_before(last):
        keywords = _unlike_defaults(found.kernel.function, dict(_numbers(graph, found, module)))
        if kernels == "on":
            keywords["impl"] = "triton"
        call = graph.call_function(found.kernel.function, (value,), keywords)
    last.replace_all_uses_with(call)
    for node in reversed(found.nodes):
        graph.erase_node(node)
    call.name = last.name


def _unlike_defaults(function: Callable[..., Any], keywords: dict[str, Any]) -> dict[str, Any]:
    """The keywords that differ from the function's defaults."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    return {name: value for name, value in keywords.items() if isinstance(value, fx.Node) or value != defaults[name]}
