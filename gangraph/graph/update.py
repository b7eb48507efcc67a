"""The entries of a step as graphs: the losses of an update, what it differentiates, and the states that move."""

from collections.abc import Mapping
from dataclasses import dataclass

from gangraph.errors import Span
from gangraph.language.expression.model import Expression
from gangraph.language.place import Place
from gangraph.language.timing import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookahead:
    """Steps of a group's optimizer on `loss` that are then forgotten; the node of this id stands for their result.

    `body` are the nodes that every step computes again, in order; what else they read are the arguments of the node.
    """

    id: str
    group: str
    networks: tuple[str, ...]
    steps: int
    loss: str
    body: tuple[str, ...]
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveGraph:
    """What one optimizer group minimises in an update, and when: a node, with the sign already applied.

    `written` is that node as the spec writes it: another one where the objective looks `ahead`. `tied` are networks
    outside of the group that have a part in common with it, which moves with the group.
    """

    group: str
    networks: tuple[str, ...]
    loss: str
    written: str
    ahead: Lookahead | None = None
    span: Span
    when: Expression | None = None
    tied: tuple[str, ...] = ()

    @property
    def moved(self) -> tuple[str, ...]:
        """Every network of which a parameter changes."""
        return (*self.networks, *self.tied)


@dataclass(frozen=True, slots=True)
class ParameterOperation:
    """What an update does to parameters after its step: an operation, where, and the numbers that it is given.

    The place is a network, a part of one, or a layer of a part.
    """

    operation: str
    place: Place
    numbers: tuple[object, ...]

    @property
    def network(self) -> str:
        """The network of which parameters change."""
        return self.place.network


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateGraph:
    """One entry of the step. `draws` is None where the update shares the draws of the one before it.

    `timing` says when it runs and how often. `watched` are the losses that decide its gates, by name. `named` are the
    losses that it names, in its objectives and gates or in what these name. `options` change the gradient before the
    step of the optimizer, in their order. `closure` says that its optimizer evaluates the objective as often as it
    likes; `ahead` are steps of all its groups after which gradients are taken, and which are forgotten. An entry that
    moves `states` comes after all updates and has no objectives: they are names, each with the node of what the state
    becomes.
    """

    name: str
    objectives: tuple[ObjectiveGraph, ...]
    draws: tuple[str, ...] | None
    timing: Timing
    options: Mapping[str, Expression]
    then: tuple[ParameterOperation, ...]
    span: Span
    watched: tuple[tuple[str, str], ...] = ()
    named: frozenset[str] = frozenset()
    states: tuple[tuple[str, str], ...] = ()
    closure: bool = False
    ahead: int = 0

    @property
    def reevaluated(self) -> bool:
        """Whether it computes its objectives at several points, as for L-BFGS or steps ahead of its own."""
        return self.closure or self.ahead > 0

    @property
    def repeated(self) -> bool:
        """Whether it may compute its objectives several times in a step: on other draws, or at other points."""
        return self.timing.repeated or self.reevaluated

    @property
    def roots(self) -> tuple[str, ...]:
        """What it computes: its objectives, the losses that decide its gates, and what states become."""
        goals = (each.loss for each in self.objectives)
        return tuple(dict.fromkeys((*goals, *(node for _, node in (*self.watched, *self.states)))))

    @property
    def gated(self) -> bool:
        """Whether some of its groups may stay as they are although everything was computed."""
        return any(gate is not None for gate in self.gates.values())

    @property
    def gates(self) -> Mapping[str, Expression | None]:
        """The conditions under which its groups step, by group; under "" that of the whole update."""
        return {"": self.timing.gate, **{each.group: each.when for each in self.objectives}}

    @property
    def accumulate(self) -> int:
        """The number of batches over which its gradient is averaged."""
        return self.timing.number("accumulate")

    @property
    def networks(self) -> tuple[str, ...]:
        """Every network of which this update changes parameters: those of its groups, and those tied to them."""
        named = (name for objective in self.objectives for name in objective.networks)
        return tuple(dict.fromkeys((*named, *(name for objective in self.objectives for name in objective.tied))))

    @property
    def tied(self) -> tuple[str, ...]:
        """The networks outside of its groups that share a part with one of them."""
        named = {name for objective in self.objectives for name in objective.networks}
        return tuple(name for name in self.networks if name not in named)

    @property
    def lookaheads(self) -> tuple[Lookahead, ...]:
        """How its objectives look ahead."""
        return tuple(objective.ahead for objective in self.objectives if objective.ahead is not None)
