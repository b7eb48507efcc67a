"""Who trains what in a spec: groups of optimizers, and the updates of a step."""

from dataclasses import dataclass, field, replace

from gangraph.errors import Span
from gangraph.language.expression.model import Expression
from gangraph.language.place import Place
from gangraph.language.spec_fields import ASIDE, Names
from gangraph.language.timing import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What an optimizer group lists: a network or a part of one, with options of its own."""

    place: Place
    options: Names = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSpec:
    """An optimizer group: one optimizer over the parameters of some networks.

    `listed` is what it lists, if that is more than whole networks with the options of the group.
    """

    name: str = field(metadata=ASIDE)
    kind: str
    networks: tuple[tuple[str, Span], ...]
    options: Names
    span: Span
    listed: tuple[Entry, ...] = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What it trains; a parameter belongs to the most specific entry."""
        return self.listed or tuple(Entry(place=Place(name, "", span)) for name, span in self.networks)

    def of(self, entry: Entry) -> "OptimizerSpec":
        """The group with the options that hold for an entry."""
        return replace(self, options={**self.options, **entry.options}, listed=())

    @property
    def places(self) -> tuple[Place, ...]:
        """The places of all its entries."""
        return tuple(entry.place for entry in self.entries)

    @property
    def trained(self) -> tuple[str, ...]:
        """What it trains, as the spec writes it: networks, and parts of those of which it does not train all."""
        places = self.places
        whole = (place for place in places if not any(place.is_in(each) and place != each for each in places))
        return tuple(dict.fromkeys(place.written for place in whole))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unroll:
    """A lookahead: `steps` steps of the group of `objective` on that objective."""

    objective: "Objective"
    steps: int
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What one group minimises in an update, and when; `sign` is -1 where the spec says maximize."""

    group: str
    expression: Expression
    sign: int
    span: Span
    unroll: Unroll | None = None
    when: Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateSpec:
    """One entry of `step:`. `draw` is None for the default: the step's first update draws everything.

    `schedule` says when it runs and how often, in the order of `gangraph.update_schedule`; what changes nothing is left
    out. `options` change the gradient before the step of the optimizer, in the order of `gangraph.update_options`.
    `ahead` is how many steps its own groups take before its gradients are taken; these steps are forgotten.
    """

    name: str = field(metadata=ASIDE)
    objectives: tuple[Objective, ...]
    draw: tuple[tuple[str, Span], ...] | None
    schedule: Names
    options: Names
    then: tuple[Expression, ...]
    span: Span
    ahead: int = 0

    @property
    def timing(self) -> Timing:
        """The timing that its schedule states."""
        return Timing.of(self.schedule)
