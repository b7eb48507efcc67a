"""A resolved spec: one profile and variant of a document, with everything static evaluated."""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field
from typing import Any, Literal

from gangraph.errors import Problem, Span, Text
from gangraph.language.expression.model import Expression, Quantity
from gangraph.language.timing import Timing

Names = Mapping[str, Expression]

ASIDE: Mapping[str, bool] = {"aside": True}  # marks a field that changes nothing of what is trained or measured


def counts(each: Field[Any]) -> bool:
    """Whether a field of a spec is part of its fingerprints."""
    return "aside" not in each.metadata


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

    `file` is what it was read from; None for one that is defined in place.
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
    file: Text | None = field(default=None, compare=False, metadata=ASIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class AverageSpec:
    """An exponential moving average of another network's parameters."""

    of: str
    decay: Expression
    buffers: Literal["copy", "average"]
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSpec:
    """An optimizer group: one of torch's optimizers over the parameters of some networks."""

    name: str = field(metadata=ASIDE)
    kind: str
    networks: tuple[tuple[str, Span], ...]
    options: Names
    span: Span


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
    """

    name: str = field(metadata=ASIDE)
    objectives: tuple[Objective, ...]
    draw: tuple[tuple[str, Span], ...] | None
    schedule: Names
    options: Names
    then: tuple[Expression, ...]
    span: Span

    @property
    def timing(self) -> Timing:
        """What its schedule means."""
        return Timing.of(self.schedule)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorSpec:
    """A network that another spec trains, used in evaluations; `called` is that spec as it is written here."""

    called: str = field(metadata=ASIDE)
    spec: "Spec"
    network: str
    span: Span


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
    """A resolved spec. `problems` were found on the way; `check` reports them with its own."""

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
    bases: Mapping[str, str] = field(default_factory=dict, metadata=ASIDE)  # texts by the path of a copy, nearest first

    @property
    def base(self) -> str:
        """What the spec calls its base; empty where it has none."""
        copy = next(iter(self.bases), "")
        return copy.removeprefix("shipped/").removesuffix(".yaml") if copy.startswith("shipped/") else copy
