"""The shape of a spec as people type it: which keys there are, and which of them hold expressions.

These models read a tree with positions (`gangraph.language.document.tree`); expressions are parsed on the way, so a
`Document` holds syntax trees. The same models give the JSON schema for editors.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, RootModel, Tag, model_validator
from pydantic_core import PydanticCustomError

from gangraph.language.document.fields import (
    Chain,
    Expr,
    Key,
    LoopKey,
    Model,
    Overlay,
    Part,
    Plain,
    gathered,
    yaml_kind,
)
from gangraph.language.document.states import StateParts, StateSections
from gangraph.language.document.tree import TreeMapping, TreeSequence
from gangraph.language.expression.syntax import is_loop
from gangraph.language.scalar import Scalar
from gangraph.language.state_sections import STATE_SECTIONS
from gangraph.update_keys import is_in
from gangraph.update_options import UPDATE_OPTIONS
from gangraph.update_schedule import SCHEDULE_KEYS


def _alone(tree: Any) -> Any:
    if isinstance(tree, TreeMapping) and len(tree) > 1:
        raise PydanticCustomError("loop", "its entries, as a list under it")
    return tree


def _entry_kind(tree: Any) -> str:
    return "loop" if isinstance(tree, TreeMapping) and any(map(is_loop, tree)) else "entry"


def _list_or_entry(tree: Any) -> str:
    return "list" if isinstance(tree, TreeSequence) else "entry"


class PaperDocument(Model):
    """The paper that a spec states."""

    title: Plain
    year: Plain | None = None
    arxiv: Plain | None = None
    authors: Plain | None = None
    venue: Plain | None = None


Repeated = Annotated[dict[Key, Chain], Field(description="for variable in range: layers")]
LayersItem = Annotated[Annotated[Chain, Tag("scalar")] | Annotated[Repeated, Tag("mapping")], Discriminator(yaml_kind)]
Layers = Annotated[
    Annotated[Chain, Tag("scalar")] | Annotated[list[LayersItem], Tag("sequence")], Discriminator(yaml_kind)
]
OneOrMore = Annotated[Annotated[Expr, Tag("scalar")] | Annotated[list[Expr], Tag("sequence")], Discriminator(yaml_kind)]
Names = Annotated[Annotated[Plain, Tag("scalar")] | Annotated[list[Plain], Tag("sequence")], Discriminator(yaml_kind)]
Param = Annotated[
    Annotated[Expr, Tag("scalar")] | Annotated[Expr, Tag("sequence")] | Annotated[dict[Key, Expr], Tag("mapping")],
    Discriminator(yaml_kind),
]


Grid = Annotated[
    Annotated[Expr, Tag("scalar")] | Annotated[Expr, Tag("sequence")] | Annotated[dict[Key, Expr], Tag("mapping")],
    Discriminator(yaml_kind),
]


class NetworkDocument(Model):
    """A network: a chain of layers, or parts and the values that connect them."""

    name: Plain | None = None
    about: Plain | None = Field(None, description="one line, printed by `list`")
    paper: PaperDocument | None = None
    params: dict[Key, Param] = {}
    let: dict[Key, Expr] = Field({}, description="static names computed from params")
    inputs: Names = Field(description="the names of the inputs")
    draw: dict[Key, Expr] = Field({}, description="inputs that are drawn where a call does not give them: uniform(1)")
    init: dict[Key, Expr] = Field({}, description="how parameters start, by part or kind of layer: conv, linear, all")
    share: Expr | None = Field(None, description="parts that are those of another network: NETWORK.part, or a list")
    layers: Layers | None = Field(None, description="the network as one chain")
    parts: dict[Key, Layers] = Field({}, description="named chains of layers, also as families")
    values: dict[Key, Expr] = Field({}, description="named intermediate values")
    output: Expr | None = None
    outputs: dict[Key, Expr] = Field({}, description="named outputs, used as network(x).name")


Start = Annotated[
    Annotated[Expr, Tag("scalar")] | Annotated[dict[Key, Expr], Tag("mapping")],
    Discriminator(yaml_kind),
]
Network = Annotated[
    Annotated[Expr, Tag("scalar")] | Annotated[NetworkDocument, Tag("mapping")], Discriminator(yaml_kind)
]


class UnrollDocument(Model):
    """A lookahead: steps that are forgotten afterwards, of another group, or of all groups of the update."""

    update: Plain | None = Field(None, description="another group; without it, all groups of the update")
    minimize: Expr | None = None
    maximize: Expr | None = None
    steps: Expr = Field(description="how many; static, and 0 is the plain update")
    gradient: Expr | None = Field(None, description="whether the gradient flows through the steps")


class ObjectiveDocument(Model):
    """What one optimizer group minimises or maximises in a simultaneous update, and when it steps."""

    minimize: Expr | None = None
    maximize: Expr | None = None
    unroll: UnrollDocument | None = Field(None, description="steps of another group that the objective looks ahead")
    when: Expr | None = Field(None, description="only when this condition on losses or time holds")


Group = Annotated[
    Annotated[Plain, Tag("scalar")] | Annotated[dict[Key, ObjectiveDocument], Field(min_length=1), Tag("mapping")],
    Discriminator(yaml_kind),
]


# No keys of a spec: what the tables of records know stands beside its other keys.
_SCHEDULE, _OPTIONS, _STATES = "schedule of an update", "options of an update", "sections of states"
_TABLES: dict[str, dict[str, Any]] = {_SCHEDULE: SCHEDULE_KEYS, _OPTIONS: UPDATE_OPTIONS, _STATES: STATE_SECTIONS}


def _add_records(schema: dict[str, Any]) -> None:
    """Add every name in the tables of records to the JSON schema, as a key that editors complete."""
    told: dict[str, Any] = {}
    for key, written in schema["properties"].items():
        told |= _recorded(key, written) if key in _TABLES else {key: written}
    schema["properties"] = told


def _recorded(table: str, written: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of the keys in a table: that which a record states, or one for all of them."""
    if "properties" in written:
        return dict(written["properties"])
    names = sorted(_TABLES[table]) if table == _OPTIONS else _TABLES[table]
    return {name: {**written["additionalProperties"], "description": _TABLES[table][name].about} for name in names}


class Recorded(Model):
    """A mapping in which some keys come from tables of records; the keys of one table are gathered in one field."""

    model_config = ConfigDict(populate_by_name=False, json_schema_extra=_add_records)

    @model_validator(mode="before")
    @classmethod
    def _with_records(cls, tree: Any) -> Any:
        """Move the keys that a table knows into the field of that table. Unknown keys stay, and are refused."""
        if not isinstance(tree, TreeMapping):
            return tree
        fields = cls.model_fields
        others: dict[str, Any] = {str(key): value for key, value in tree.items()}
        keys = [key for key in tree if key not in fields]
        for field in (each.alias for each in fields.values() if each.alias in _TABLES):
            known = [key for key in keys if is_in(_TABLES[field], key)]
            others = {field: {key: others.pop(key) for key in known}} | others
        return others


class UpdateDocument(Recorded):
    """One parameter update: which group, what it minimises, on which draws, how often, and its options."""

    update: Group
    minimize: Expr | None = None
    maximize: Expr | None = None
    unroll: UnrollDocument | None = Field(None, description="steps of another group that the objective looks ahead")
    draw: Expr | None = Field(None, description="sources drawn anew before the update: all, a name, or a list")
    then: OneOrMore | None = Field(
        None, description="operations on parameters after the update, such as clip(D, -0.01, 0.01)"
    )
    schedule: Annotated[dict[str, Expr], BeforeValidator(gathered)] = Field({}, alias=_SCHEDULE)
    options: Annotated[dict[str, Expr], BeforeValidator(gathered)] = Field({}, alias=_OPTIONS)


class StepLoop(RootModel[Annotated[dict[LoopKey, "Updates"], BeforeValidator(_alone)]]):
    """Updates that are written once for every member of a range: `for k in 0..2: [{update: critic[k], ...}]`."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)


StepEntry = Annotated[
    Annotated[UpdateDocument, Tag("entry")] | Annotated[StepLoop, Tag("loop")], Discriminator(_entry_kind)
]
Step = list[StepEntry]
Updates = Annotated[
    Annotated[Annotated[Step, Field(min_length=1)], Tag("list")] | Annotated[StepEntry, Tag("entry")],
    Discriminator(_list_or_entry),
]


class PhaseDocument(Recorded):
    """A stretch of training: the same spec under other params, weights carried over by name."""

    name: Plain | None = Field(None, description="for messages; as `grow[r]`, one name for each r of a loop")
    set: dict[Key, Expr] = Field({}, description="params of this phase")
    data: dict[Key, Expr] = {}
    networks: dict[Key, Part] = {}
    variables: dict[Key, Expr] = {}
    values: dict[Key, Expr] = {}
    losses: dict[Key, Expr] = {}
    states: StateParts = Field({}, alias=_STATES)
    batch: Expr | None = None
    length: Expr
    optimizers: dict[Key, Expr] = {}
    step: Step | None = None
    carry: Plain | None = Field(None, description="optimizers: go on with the state of the phase before")
    evaluate: Overlay | None = None


class PhaseLoop(RootModel[Annotated[dict[LoopKey, "Phases"], BeforeValidator(_alone)]]):
    """Phases that are written once for every member of a range: `for r in [8, 16, 32]: [{set: {size: r}, ...}]`."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)


PhaseEntry = Annotated[
    Annotated[PhaseDocument, Tag("entry")] | Annotated[PhaseLoop, Tag("loop")], Discriminator(_entry_kind)
]
Phases = Annotated[
    Annotated[Annotated[list[PhaseEntry], Field(min_length=1)], Tag("list")] | Annotated[PhaseEntry, Tag("entry")],
    Discriminator(_list_or_entry),
]
StepLoop.model_rebuild()
PhaseLoop.model_rebuild()


class TrainDocument(Model):
    """How parameters are updated, in which order, and for how long."""

    batch: Expr
    length: Expr | None = Field(None, description="in steps, epochs or images (kimg)")
    optimizers: dict[Key, Expr]
    step: Step = []
    phases: list[PhaseEntry] = []
    save: Expr | None = Field(None, description="how often a checkpoint is written, in steps, epochs or images")
    keep: Expr | None = Field(None, description="how many of the last checkpoints are kept")


class SamplerDocument(Model):
    """A picture of a trained run, drawn on request: columns side by side, or frames one after another."""

    show: Expr | None = Field(None, description="the values shown side by side as images, one sample in each row")
    frames: Expr | None = Field(None, description="the values shown one after another, as an animation")
    above: Expr | None = Field(None, description="a value whose samples stand above the last columns, one each")
    samples: Expr | None = Field(None, description="how many samples; those of a look if it is left out")
    rate: Expr | None = Field(None, description="frames a second")


class EvaluateDocument(Model):
    """What is evaluated during training and measured afterwards."""

    every: Expr | None = None
    samples: Expr | None = Field(None, description="how many samples a grid shows or a metric sees")
    result_samples: Expr | None = Field(None, description="how many samples a result is computed over")
    mode: Plain | None = Field(None, description="train or eval: how batch norm and dropout behave")
    data: dict[Key, Expr] = Field({}, description="streams that replace the training streams of the same name")
    values: dict[Key, Expr] = {}
    networks: dict[Key, Expr] = Field({}, description="networks that another spec trains, as trained(SPEC, network=N)")
    grid: Grid | None = Field(None, description="the values shown side by side as images, or several such lists")
    samplers: dict[Key, SamplerDocument] = Field({}, description="pictures that `gangraph sample RUN --as NAME` draws")
    metrics: dict[Key, Expr] = Field({}, description="numbers at every look, over `samples`")
    results: dict[Key, Expr] = Field({}, description="numbers of the trained networks, over `result_samples`")
    best: Expr | None = Field(None, description="max(metric) or min(metric): which checkpoint is kept as the best")


class ClaimDocument(Model):
    """Something that the paper says, in words and as a condition on measured numbers."""

    say: Plain
    source: Plain | None = Field(None, alias="from")
    check: Expr
    note: Plain | None = Field(None, description="what is known about why it holds or not")


class ReportedDocument(Model):
    """Numbers that the paper reports for one of the spec's metrics, by variant."""

    say: Plain
    source: Plain | None = Field(None, alias="from")
    metric: Plain
    values: dict[Key, Expr]


class Document(Recorded):
    """A whole spec."""

    gangraph: Plain
    base: Plain | None = Field(None, description="a shipped spec, or a file beside this one, that this is laid over")
    name: Plain
    about: Plain | None = None
    paper: PaperDocument | None = None
    default_profile: Plain | None = None
    params: dict[Key, Param] = {}
    let: dict[Key, Expr] = {}
    data: dict[Key, Expr] = {}
    networks: dict[Key, Network] = {}
    variables: dict[Key, Expr] = Field({}, description="trained tensors that are no network, and what each begins as")
    start: Start | None = Field(None, description="the weights that a run begins with, by network, or all of a run")
    values: dict[Key, Expr] = {}
    losses: dict[Key, Expr]
    states: StateSections = Field({}, alias=_STATES)
    train: TrainDocument
    evaluate: EvaluateDocument | None = None
    profiles: dict[Key, Overlay] = {}
    variants: dict[Key, Overlay] = {}
    claims: list[ClaimDocument] = []
    reported: list[ReportedDocument] = []

    @property
    def named(self) -> dict[str, dict[Scalar, Any]]:
        """The sections in which names are defined, such as `values`, by their keys."""
        known = ("data", "networks", "variables", "values", "losses")
        return {key: getattr(self, key) for key in known} | self.states
