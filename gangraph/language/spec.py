"""A resolved spec: one profile and variant of a document, with everything static evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gangraph.errors import Problem, Span, Text
from gangraph.language.expression.model import Expression, Quantity
from gangraph.language.spec_fields import ASIDE, Names
from gangraph.language.state_sections import STATE_SECTIONS
from gangraph.language.timing import Timing
from gangraph.language.update_spec import OptimizerSpec, UpdateSpec

VARIABLE = "value"  # the only parameter of a variable
OUTPUT = "output"  # the output of a network with several that a call without a field means


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """The paper that a spec states."""

    title: str
    year: str = ""
    arxiv: str = ""
    authors: str = ""
    venue: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part whose layers are those of another network's part of that name; `network` owns it."""

    part: str
    network: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """A network as a graph of layers: chains of layers (`parts`) and the values that connect them.

    `draws` are the inputs that are drawn where a call does not give them, by name: the last of `inputs`. They are drawn
    anew at each place of a call, or once for all of them.
    `file` is what it was read from; None for one that is defined in place. `weights` are those that it begins with if
    it comes from elsewhere; it is `frozen` if no optimizer of any phase names it, and is in evaluation mode then. A
    variable is a network without inputs, parts and values, whose only parameter begins as the value of `start`.
    """

    template: str = field(metadata=ASIDE)
    inputs: tuple[str, ...]
    parts: Mapping[str, tuple[Expression, ...]]
    values: Names
    outputs: Names
    init: Names
    span: Span
    static_names: frozenset[str] = field(default=frozenset(), metadata=ASIDE)
    shares: tuple[Share, ...] = ()
    weights: "Weights | None" = None
    frozen: bool = False
    draws: Names = field(default_factory=dict)
    draws_once: bool = False
    file: Text | None = field(default=None, compare=False, metadata=ASIDE)
    start: Expression | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """The inputs that every call gives."""
        return tuple(name for name in self.inputs if name not in self.draws)


@dataclass(frozen=True, slots=True, kw_only=True)
class AverageSpec:
    """An exponential moving average of another network's parameters."""

    of: str
    decay: Expression
    buffers: Literal["copy", "average"]
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpec:
    """What a step leaves to the next: it begins as `value` everywhere in a tensor of `shape`, and becomes `next`.

    `written` is the entry as it stands in its `section`, whose record has made `start` and `next` of it.
    """

    section: str = field(metadata=ASIDE)
    written: Names = field(metadata=ASIDE)
    start: Expression
    next: Expression
    schedule: Names = field(default_factory=dict)
    span: Span
    value: float = field(metadata=ASIDE)
    shape: tuple[int, ...] = field(metadata=ASIDE)

    @property
    def timing(self) -> Timing:
        """The steps in which it moves."""
        return Timing.of(self.schedule)

    @property
    def called(self) -> str:
        """What messages call a state of its section."""
        return STATE_SECTIONS[self.section].called


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorSpec:
    """A network that another spec trains, once on each machine; `called` is the other spec as this one writes it."""

    called: str = field(metadata=ASIDE)
    spec: "Spec"
    network: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWeights:
    """The weights of a network of a run at one of its checkpoints; of all its networks if `network` is empty.

    `written` is the call that says so, `checkpoint` the folder that it means, `digest` that of the tensors in it.
    """

    written: str = field(metadata=ASIDE)
    network: str
    checkpoint: str = field(metadata=ASIDE)
    digest: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWeights:
    """The weights in a file. `names` pairs our names with its own, `*` for any text; the first that fits holds.

    `written` is the call that says so, `path` the file that it means, `digest` that of the file and of the names; it is
    empty in a run from before there was one.
    """

    written: str
    path: str = field(metadata=ASIDE)
    names: tuple[tuple[str, str], ...] = field(default=(), metadata=ASIDE)
    digest: str = ""
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedWeights:
    """The weights of a well-known network of ImageNet, by torchvision's name for it.

    `written` is the call in the spec, `names` are pairs of our name of a tensor and torchvision's.
    """

    written: str = field(metadata=ASIDE)
    name: str
    names: tuple[tuple[str, str], ...] = field(default=(), metadata=ASIDE)
    span: Span


Weights = EvaluatorSpec | RunWeights | FileWeights | PretrainedWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerSpec:
    """A picture that is drawn on request: `columns` side by side, or as frames at `rate` a second."""

    columns: tuple[Expression, ...]
    above: Expression | None
    samples: int
    rate: int | None
    span: Span

    @property
    def moving(self) -> bool:
        """Whether it is an animation."""
        return self.rate is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSpec:
    """What is evaluated: metrics over `samples` during training, results over `result_samples` afterwards.

    A lone grid has the name "".
    """

    every: Quantity | None = field(metadata=ASIDE)
    samples: int
    result_samples: int
    mode: Literal["train", "eval"]
    data: Names
    networks: Mapping[str, EvaluatorSpec]
    values: Names
    grids: Mapping[str, tuple[Expression, ...]] = field(metadata=ASIDE)
    samplers: Mapping[str, SamplerSpec] = field(metadata=ASIDE)
    metrics: Names
    results: Names
    best: tuple[Literal["max", "min"], str] | None = field(metadata=ASIDE)

    @property
    def grid(self) -> tuple[Expression, ...]:
        """The columns of every grid."""
        return tuple(column for columns in self.grids.values() for column in columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSpec:
    """Everything that holds during one phase of training; a spec without phases has one."""

    name: str = field(metadata=ASIDE)
    params: Mapping[str, object] = field(metadata=ASIDE)
    data: Names
    networks: Mapping[str, NetworkSpec | AverageSpec]
    values: Names
    losses: Names
    batch: int
    length: Quantity | None
    optimizers: Mapping[str, OptimizerSpec]
    updates: tuple[UpdateSpec, ...]
    evaluate: EvaluateSpec | None = field(metadata=ASIDE)
    span: Span
    carries: bool = False  # whether optimizers keep their state from the phase before
    number: int = field(default=1, metadata=ASIDE)
    static_names: frozenset[str] = field(default=frozenset(), metadata=ASIDE)
    spans: Mapping[str, Span] = field(default_factory=dict, metadata=ASIDE)
    states: Mapping[str, StateSpec] = field(default_factory=dict)

    @property
    def named(self) -> dict[str, Mapping[str, Any]]:
        """The sections in which names are defined, by what a message calls an entry of them, such as "source"."""
        networks = {name: made for name, made in self.networks.items() if name not in self.variables}
        states: dict[str, dict[str, StateSpec]] = {}
        for name, state in self.states.items():
            states.setdefault(state.called, {})[name] = state
        known = {"source": self.data, "network": networks, "variable": self.variables, "value": self.values}
        return {**known, "loss": self.losses, **states}

    @property
    def variables(self) -> dict[str, Expression]:
        """What each trained tensor that is no network begins as."""
        made = ((name, network) for name, network in self.networks.items() if isinstance(network, NetworkSpec))
        return {name: network.start for name, network in made if network.start is not None}

    def is_variable(self, name: str) -> bool:
        """Whether a name is that of a variable, or of the average of one: it is a value, and not called."""
        network = self.networks.get(name)
        of = self.networks.get(network.of) if isinstance(network, AverageSpec) else network
        return isinstance(of, NetworkSpec) and of.start is not None

    @property
    def called(self) -> str:
        """`phase 2 (size=8)`, and `phase 2, 'warm'` where the spec gives it a name."""
        return self.name if self.name.startswith("phase ") else f"phase {self.number}, '{self.name}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Something that the paper says, in words and as a condition on measured numbers."""

    say: str
    source: str
    check: Expression
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """Numbers that the paper reports for a metric, by variant."""

    say: str
    source: str
    metric: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A resolved spec. `problems` were found on the way; `check` reports them with its own.

    `start` are the weights that a run begins with, by network; a run under "" is for all networks by name.
    """

    name: str = field(metadata=ASIDE)
    about: str = field(metadata=ASIDE)
    paper: Paper | None = field(metadata=ASIDE)
    profile: str = field(metadata=ASIDE)
    variant: str = field(metadata=ASIDE)
    default_profile: str = field(metadata=ASIDE)
    profiles: tuple[str, ...] = field(metadata=ASIDE)
    variants: tuple[str, ...] = field(metadata=ASIDE)
    phases: tuple[PhaseSpec, ...]
    claims: tuple[Claim, ...] = field(metadata=ASIDE)
    reported: tuple[Reported, ...] = field(metadata=ASIDE)
    save: Quantity | None = field(metadata=ASIDE)
    keep: int = field(metadata=ASIDE)
    text: str = field(metadata=ASIDE)
    origin: str = field(metadata=ASIDE)
    settings: tuple[tuple[str, str], ...] = field(metadata=ASIDE)
    problems: tuple[Problem, ...] = field(metadata=ASIDE)
    broken: frozenset[str] = field(metadata=ASIDE)
    start: Mapping[str, RunWeights | FileWeights] = field(default_factory=dict)
    bases: Mapping[str, str] = field(default_factory=dict, metadata=ASIDE)  # texts by the path of a copy, nearest first

    @property
    def base(self) -> str:
        """What the spec calls its base; empty where it has none."""
        copy = next(iter(self.bases), "")
        return copy.removeprefix("shipped/").removesuffix(".yaml") if copy.startswith("shipped/") else copy
