"""What a plan is made of: segments, what they reuse, and the updates that they belong to."""

from dataclasses import dataclass

from gangraph.check.phase import Checked
from gangraph.graph.update import Lookahead, UpdateGraph


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Nodes that are computed together, by one fx graph.

    `trained` are the networks whose parameters will be differentiated in the update number `target` (from 0, if any),
    through the nodes in `live`; every other network is frozen. `detached` are the inputs that carry a gradient meant
    for another update. `histories` are mixed with their past before the segment runs. `lookaheads` are the steps that
    it looks ahead; in the segment of one such step the networks `moved` are those whose parameters or state it moves.

    `order` are pairs of calls that move the same state, of which the second follows. The calls in `again` were made
    before in this step for the same value: they begin from the state of then, and move nothing. For each call in
    `keeps` the state that it begins from is kept for that.
    """

    name: str
    purpose: str
    target: int | None = None
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    trained: tuple[str, ...]
    live: frozenset[str]
    detached: frozenset[str]
    merges: tuple[tuple[str, ...], ...] = ()
    histories: tuple[str, ...] = ()
    lookaheads: tuple["LookaheadPlan", ...] = ()
    moved: tuple[str, ...] = ()
    order: tuple[tuple[str, str], ...] = ()
    again: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LookaheadPlan:
    """Steps that a segment looks ahead: `each` computes the loss of one; gradients flow through them if `live`.

    `called` is the name by which code calls the steps, which nothing else has there.
    """

    graph: Lookahead
    each: Segment
    live: bool
    called: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """A value that an update takes from the update number `source` (from 0), and why that is the same value."""

    value: str
    source: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatePlan:
    """One update: `before` runs once, `body` each time it is repeated."""

    graph: UpdateGraph
    differentiated: tuple[str, ...]
    frozen: tuple[str, ...]
    before: tuple[Segment, ...]
    body: tuple[Segment, ...]
    redraws: tuple[str, ...]
    noise: tuple[str, ...] = ()
    reuses: tuple[Reuse, ...]
    losses: tuple[tuple[str, str], ...]
    frees: tuple[str, ...] = ()

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments in the order they run."""
        return (*self.before, *self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One pass through `step:`. `sources` are drawn when it begins; after the `updates` come the `moves` of states."""

    checked: Checked
    sources: tuple[str, ...]
    updates: tuple[UpdatePlan, ...]
    moves: tuple[UpdatePlan, ...] = ()
    share: bool
    merge: bool

    @property
    def step(self) -> tuple[UpdatePlan, ...]:
        """Every entry of the step in order."""
        return (*self.updates, *self.moves)
