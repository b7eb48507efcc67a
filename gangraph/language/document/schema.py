"""The shape of a spec as people type it: which keys there are, and which of them hold expressions.

These models read a tree with positions (`gangraph.language.document.tree`); expressions are parsed on the way, so a
`Document` holds syntax trees. The same models give the JSON schema for editors.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    RootModel,
    Tag,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from gangraph.errors import Problem, Span, SpecError, nearest
from gangraph.language.document.tree import Mapping, Sequence, Tree
from gangraph.language.expression import model as ast
from gangraph.language.expression.syntax import is_loop, parse_chain, parse_expression, parse_loop
from gangraph.language.scalar import Scalar
from gangraph.update_options import UPDATE_OPTIONS, is_option


def _scalar(tree: Any) -> Scalar:
    if not isinstance(tree, Scalar):
        raise PydanticCustomError("kind", "text")
    return tree


def _one(tree: Any, info: ValidationInfo) -> ast.Expression:
    if isinstance(tree, Mapping):
        raise PydanticCustomError("kind", "an expression")
    scalar = tree.raw if isinstance(tree, Sequence) else tree
    try:
        return parse_expression(scalar)
    except SpecError as error:
        return _broken(scalar, error, info)


def _chain(tree: Any, info: ValidationInfo) -> tuple[ast.Expression, ...]:
    if not isinstance(tree, Scalar):
        raise PydanticCustomError("kind", "layers separated by commas")
    try:
        return parse_chain(tree)
    except SpecError as error:
        return (_broken(tree, error, info),)


def _loop(tree: Any, info: ValidationInfo) -> Scalar:
    """The key of entries that are written once for many, `for k in 0..2`."""
    scalar = _scalar(tree)
    try:
        parse_loop(scalar)
    except SpecError as error:
        _broken(scalar, error, info)
    return scalar


def _alone(tree: Any) -> Any:
    if isinstance(tree, Mapping) and len(tree) > 1:
        raise PydanticCustomError("loop", "its entries, as a list under it")
    return tree


def _broken(scalar: Scalar, error: SpecError, info: ValidationInfo) -> ast.Expression:
    """A stand-in for an expression that does not parse, so that everything else is still checked."""
    problems: list[Problem] = info.context  # type: ignore[assignment]
    problems.extend(error.problems)
    return ast.Broken(scalar.span)


_ANY_SCALAR = {"type": ["string", "number", "boolean"]}
Plain = Annotated[Scalar, PlainValidator(_scalar), WithJsonSchema({**_ANY_SCALAR, "description": "text"})]
Key = Annotated[Scalar, PlainValidator(_scalar), WithJsonSchema({"type": "string"})]
LoopKey = Annotated[Scalar, PlainValidator(_loop), WithJsonSchema({"type": "string"})]
Expr = Annotated[
    ast.Expression,
    PlainValidator(_one),
    WithJsonSchema({"type": ["string", "number", "boolean", "array"], "description": "an expression"}),
]
Chain = Annotated[
    tuple[ast.Expression, ...],
    PlainValidator(_chain),
    WithJsonSchema({"type": "string", "description": "layers separated by commas"}),
]
Overlay = Annotated[
    Any, PlainValidator(lambda tree: tree), WithJsonSchema({"type": "object", "description": "a partial spec"})
]


def _kind(tree: Any) -> str:
    return "mapping" if isinstance(tree, Mapping) else "sequence" if isinstance(tree, Sequence) else "scalar"


def _entry_kind(tree: Any) -> str:
    return "loop" if isinstance(tree, Mapping) and any(map(is_loop, tree)) else "entry"


def _list_or_entry(tree: Any) -> str:
    return "list" if isinstance(tree, Sequence) else "entry"


class Model(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, populate_by_name=True, defer_build=True
    )


class PaperDocument(Model):
    """The paper that a spec states."""

    title: Plain
    year: Plain | None = None
    arxiv: Plain | None = None
    authors: Plain | None = None
    venue: Plain | None = None


Repeated = Annotated[dict[Key, Chain], Field(description="for variable in range: layers")]
LayersItem = Annotated[Annotated[Chain, Tag("scalar")] | Annotated[Repeated, Tag("mapping")], Discriminator(_kind)]
Layers = Annotated[Annotated[Chain, Tag("scalar")] | Annotated[list[LayersItem], Tag("sequence")], Discriminator(_kind)]
OneOrMore = Annotated[Annotated[Expr, Tag("scalar")] | Annotated[list[Expr], Tag("sequence")], Discriminator(_kind)]
Names = Annotated[Annotated[Plain, Tag("scalar")] | Annotated[list[Plain], Tag("sequence")], Discriminator(_kind)]
Param = Annotated[
    Annotated[Expr, Tag("scalar")] | Annotated[Expr, Tag("sequence")] | Annotated[dict[Key, Expr], Tag("mapping")],
    Discriminator(_kind),
]


Grid = Annotated[
    Annotated[Expr, Tag("scalar")] | Annotated[Expr, Tag("sequence")] | Annotated[dict[Key, Expr], Tag("mapping")],
    Discriminator(_kind),
]


class NetworkDocument(Model):
    """A network: a chain of layers, or parts and the values that connect them."""

    name: Plain | None = None
    about: Plain | None = Field(None, description="one line, printed by `list`")
    paper: PaperDocument | None = None
    params: dict[Key, Param] = {}
    let: dict[Key, Expr] = Field({}, description="static names computed from params")
    inputs: Names = Field(description="the names of the inputs")
    init: dict[Key, Expr] = Field({}, description="how parameters start, by part or kind of layer: conv, linear, all")
    share: Expr | None = Field(None, description="parts that are those of another network: NETWORK.part, or a list")
    layers: Layers | None = Field(None, description="the network as one chain")
    parts: dict[Key, Layers] = Field({}, description="named chains of layers, also as families")
    values: dict[Key, Expr] = Field({}, description="named intermediate values")
    output: Expr | None = None
    outputs: dict[Key, Expr] = Field({}, description="named outputs, used as network(x).name")


Network = Annotated[Annotated[Expr, Tag("scalar")] | Annotated[NetworkDocument, Tag("mapping")], Discriminator(_kind)]


class UnrollDocument(Model):
    """A lookahead: steps of another group on its own objective, which are forgotten afterwards."""

    update: Plain
    minimize: Expr | None = None
    maximize: Expr | None = None
    steps: Expr = Field(description="how many; static, and 0 is the plain update")


class ObjectiveDocument(Model):
    """What one optimizer group minimises or maximises in a simultaneous update, and when it steps."""

    minimize: Expr | None = None
    maximize: Expr | None = None
    unroll: UnrollDocument | None = Field(None, description="steps of another group that the objective looks ahead")
    when: Expr | None = Field(None, description="only when this condition on losses or time holds")


Group = Annotated[
    Annotated[Plain, Tag("scalar")] | Annotated[dict[Key, ObjectiveDocument], Field(min_length=1), Tag("mapping")],
    Discriminator(_kind),
]


_OPTIONS = "options of an update"  # no key that a person could type: the options stand beside the other keys


def _add_options(schema: dict[str, Any]) -> None:
    """Tell editors of every option of an update as a key of its own."""
    keys = schema["properties"]
    written = keys.pop(_OPTIONS)["additionalProperties"]
    keys |= {name: {**written, "description": UPDATE_OPTIONS[name].about} for name in sorted(UPDATE_OPTIONS)}


class UpdateDocument(Model):
    """One parameter update: which group, what it minimises, on which draws, how often, and its options."""

    model_config = ConfigDict(populate_by_name=False, json_schema_extra=_add_options)

    update: Group
    minimize: Expr | None = None
    maximize: Expr | None = None
    unroll: UnrollDocument | None = Field(None, description="steps of another group that the objective looks ahead")
    draw: Expr | None = Field(None, description="sources drawn anew before the update: all, a name, or a list")
    times: Expr | None = Field(None, description="how often in a row; may depend on step")
    every: Expr | None = Field(None, description="only when step is a multiple of this")
    when: Expr | None = Field(None, description="only when this condition on losses or time holds")
    then: OneOrMore | None = Field(
        None, description="operations on parameters after the update, such as clip(D, -0.01, 0.01)"
    )
    accumulate: Expr | None = Field(None, description="number of micro-batches whose gradients are averaged")
    options: dict[str, Expr] = Field({}, alias=_OPTIONS)

    @model_validator(mode="before")
    @classmethod
    def _with_options(cls, tree: Any) -> Any:
        """Put keys that are options under one field. Others that are unknown stay, to be refused."""
        if not isinstance(tree, Mapping):
            return tree
        options = {key: tree[key] for key in tree if key not in cls.model_fields and is_option(key)}
        return {**{key: value for key, value in tree.items() if key not in options}, _OPTIONS: options}


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


class PhaseDocument(Model):
    """A stretch of training: the same spec under other params, weights carried over by name."""

    name: Plain | None = Field(None, description="for messages; as `grow[r]`, one name for each r of a loop")
    set: dict[Key, Expr] = Field({}, description="params of this phase")
    data: dict[Key, Expr] = {}
    networks: dict[Key, Network] = {}
    values: dict[Key, Expr] = {}
    losses: dict[Key, Expr] = {}
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


class Document(Model):
    """A whole spec."""

    gangraph: Plain
    name: Plain
    about: Plain | None = None
    paper: PaperDocument | None = None
    default_profile: Plain | None = None
    params: dict[Key, Param] = {}
    let: dict[Key, Expr] = {}
    data: dict[Key, Expr] = {}
    networks: dict[Key, Network]
    values: dict[Key, Expr] = {}
    losses: dict[Key, Expr]
    train: TrainDocument
    evaluate: EvaluateDocument | None = None
    profiles: dict[Key, Overlay] = {}
    variants: dict[Key, Overlay] = {}
    claims: list[ClaimDocument] = []
    reported: list[ReportedDocument] = []


_Model = TypeVar("_Model", bound=Model)


def read_document(tree: Mapping, problems: list[Problem]) -> Document:
    """A spec's document. Expressions that do not parse are added to `problems` and stand as `Broken`.

    Raises:
        SpecError: every key that is unknown, missing or of the wrong kind, with `problems`.
    """
    return _read(Document, tree, problems)


def read_network(tree: Mapping) -> NetworkDocument:
    """A network's document.

    Raises:
        SpecError: every key that is unknown, missing or of the wrong kind, and every expression that does not parse.
    """
    problems: list[Problem] = []
    document = _read(NetworkDocument, tree, problems)
    if problems:
        raise SpecError(problems)
    return document


def _read(model: type[_Model], tree: Mapping, problems: list[Problem]) -> _Model:
    try:
        return model.model_validate(tree, context=problems)
    except ValidationError as error:
        found = [_problem(model, tree, detail) for detail in error.errors(include_url=False)]
        misspelt = {problem.fix for problem in found if problem.code == "GG201"}
        found = [
            problem
            for problem in found
            if problem.code != "GG202" or f"did you mean '{problem.expected.removesuffix(':')}'?" not in misspelt
        ]
        raise SpecError([*problems, *found]) from None


def _problem(model: type[Model], tree: Tree, detail: ErrorDetails) -> Problem:
    path = [*_steps(tree, detail["loc"])]
    _, key_span, owner = path[-1] if path else ("", tree.span, tree)
    span = key_span if detail["type"] in ("extra_forbidden", "missing") else owner.span
    key = str(detail["loc"][-1])
    if detail["type"] == "extra_forbidden":
        known = _keys_at(model, [part for part, _, _ in path[:-1]])
        return Problem(
            code="GG201",
            message=f"unknown key '{key}'",
            span=span,
            found=key,
            expected="one of " + ", ".join(known),
            fix=nearest(key, known),
        )
    if detail["type"] == "missing":
        return Problem(code="GG202", message=f"'{key}:' is missing", span=span, expected=f"{key}:")
    if detail["type"] == "loop":
        return _crowded(owner)
    expected = detail["msg"] if detail["type"] == "kind" else _EXPECTED.get(detail["type"], "another kind of value")
    found = {"scalar": "text" if owner else "nothing", "mapping": "a mapping", "sequence": "a list"}[_kind(owner)]
    return Problem(
        code="GG203",
        message="this is not the kind of value that belongs here",
        span=span,
        found=found,
        expected=expected,
    )


def _crowded(owner: Tree) -> Problem:
    """A loop with other keys beside it."""
    assert isinstance(owner, Mapping)
    loop = next(key for key in owner if is_loop(key))
    beside = next(key for key in owner if key is not loop)
    return Problem(
        code="GG240",
        message="a loop stands alone in its entry",
        span=beside.span,
        found=f"'{beside}:' beside '{loop}:'",
        expected="what is repeated stands under the loop, one entry or a list of them",
        fix=f"indent '{beside}:' further than '{loop}:'",
    )


_EXPECTED = {
    "dict_type": "a mapping of names to values",
    "too_short": "at least one entry",
    "list_type": "a list",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "union_tag_invalid": "an expression or a mapping",
}


def _steps(tree: Tree, loc: tuple[int | str, ...]) -> Iterator[tuple[int | str, Span, Tree]]:
    """The keys and positions on a validation path, each with its place and value; tags of unions are passed over."""
    value = tree
    for part in loc:
        if isinstance(value, Mapping) and part in value:
            span = next(key.span for key in value if key == part)
            value = value[part]  # type: ignore[index]
            yield part, span, value
        elif isinstance(value, Sequence) and isinstance(part, int) and part < len(value):
            value = value[part]
            yield part, value.span, value


def _keys_at(model: type[Model], path: Iterable[int | str]) -> list[str]:
    """The keys that the model at a path accepts."""
    schema = _json_schema(model, tuple(UPDATE_OPTIONS))
    node: dict[str, Any] = schema
    for part in path:
        node = _inside(schema, node, part) or node
    node = _resolved(schema, node)
    options = [_resolved(schema, option) for option in node.get("oneOf", node.get("anyOf", [node]))]
    return [key for option in options for key in option.get("properties", {})]


@cache
def _json_schema(model: type[Model], options: tuple[str, ...]) -> dict[str, Any]:
    """The JSON schema of a model, while updates have these options."""
    return model.model_json_schema()


def _inside(schema: dict[str, Any], node: dict[str, Any], part: int | str) -> dict[str, Any] | None:
    node = _resolved(schema, node)
    for option in (node, *node.get("oneOf", []), *node.get("anyOf", [])):
        option = _resolved(schema, option)
        if part in option.get("properties", {}):
            return dict(option["properties"][part])
        if isinstance(part, int) and "items" in option:
            return dict(option["items"])
        if isinstance(option.get("additionalProperties"), dict):
            return dict(option["additionalProperties"])
    return None


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node
