"""What the author of a definition can say of it, for the checker, the planner and the printers to rely on."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from inspect import formatannotation
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from gangraph.errors import nearest

Kind = Literal["layer", "op", "loss", "source", "metric", "optimizer"]
Range = tuple[float, float]  # the least and the greatest number that a value can hold
Counts = range  # whole numbers that a value can hold
OddState = tuple[int, str, str, str]  # the place of a parameter, the name of what is kept of it, found, and expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """The traits of a definition; whatever its author does not say has its default.

    `docs/plugins.md` says what each is for. In `latex` and `words`, `$x` stands for the argument of the parameter x.
    """

    # A sample's output depends on the other samples of its batch; of an op a function of a call's arguments may say it.
    mixes_samples: bool | Callable[..., bool] = False
    has_samples: bool = True  # it depends on values with a batch, and not on their shapes alone
    only_in_training: bool = False  # evaluation mode ends that
    grows_with_batch: bool = False  # its numbers depend on how many samples there are
    moves_state: bool | None = None  # whether a call in training changes a buffer; None if its author does not say
    stops_gradient: bool = False  # no gradient passes through it
    wraps: bool = False  # its first argument is another layer
    init: str | None = None  # the kind of layer that `init:` addresses it by
    labels: str | Mapping[str, str] = ""  # what counts the classes: of a layer's input, of an op's labels by parameter
    places: bool = False  # its numbers are places along an axis of its first value, which `dim` names, or else axis 1
    range: Callable[..., Range] | None = None  # from the ranges of its arguments to its own
    ordered: tuple[str, str] | None = None  # the first of these parameters is no greater than the second
    latex: str | Callable[..., str] = ""  # its formula; of an op a function of its constants may give it
    words: str = ""  # what it is in a sentence
    logits: bool | tuple[str, ...] = False  # it takes scores before any sigmoid: all its values, or these parameters
    saturates: bool = False  # the generator's gradient vanishes where the critic wins
    player: Literal["critic", "generator"] | None = None  # whose loss it is
    needs_lipschitz: bool = False  # it has no lower bound for an unconstrained critic
    compares: bool = False  # its arguments should live in one range
    ranges: Mapping[str, Range] | None = None  # what the values of a parameter have to lie in
    per_element: bool = False  # a mean over the elements of a sample
    nats: bool = False  # a divergence, summed over the elements of a sample
    expects: Callable[..., object] | None = None  # called in its place by the check
    protocol: Callable[..., Mapping[str, Any]] | None = None  # from its constants to facts to store
    sets: tuple[tuple[str, ...], ...] = ()  # the arguments that have equally many samples, set by set
    random: bool = False  # it makes random numbers, and may stand inside a value
    fused: bool = False  # it takes `fused=True`, which updates all parameters in one call
    reevaluates: bool = False  # its step takes a closure, and evaluates the objective several times
    differentiable: Callable[..., Any] | None = None  # its step as a function, so that an objective can look ahead
    shapes_state: tuple[str, ...] = ()  # options without which (0 or false) it keeps less of each parameter
    at_start: tuple[str, ...] = ()  # options that only its first step reads
    keeps: Mapping[str, Range | Counts] | None = None  # in what the numbers that it keeps lie, by name; a range: counts
    refuses_state: Callable[..., Iterator[OddState]] | None = None  # what its steps cannot have left of its parameters


TRAITS: Mapping[Kind, tuple[str, ...]] = {
    "layer": ("mixes_samples", "only_in_training", "grows_with_batch", "moves_state", "stops_gradient", "wraps", "init",
              "labels", "ordered"),
    "op": ("mixes_samples", "has_samples", "stops_gradient", "labels", "places", "range", "ranges",
           "ordered", "latex", "words"),
    "loss": ("labels", "latex", "words", "logits", "saturates", "player", "needs_lipschitz", "compares", "ranges",
             "per_element", "nats", "ordered"),
    "metric": ("expects", "protocol", "sets", "ordered"),
    "source": ("random",),
    "optimizer": ("fused", "differentiable", "reevaluates", "shapes_state", "at_start", "keeps", "refuses_state"),
}  # fmt: skip


_ANNOTATIONS = {each.name: each.type for each in fields(Traits)}


def traits_of(kind: Kind, name: str, given: Mapping[str, Any]) -> Traits:
    """The traits that the author of a definition gives it.

    Raises:
        TypeError: definitions of this kind have no trait of that name, and the nearest one is named; or a value is not
            what its annotation says.
    """
    for trait, value in given.items():
        if trait not in TRAITS[kind]:
            raise TypeError(f"the {kind} '{name}' cannot have a trait '{trait}'{_instead(trait, kind)}")
        if not _fits(value, _ANNOTATIONS[trait]):
            expected = " | ".join(map(_written, _alternatives(_ANNOTATIONS[trait])))
            raise TypeError(f"the trait '{trait}' of the {kind} '{name}' is {value!r}, expected {expected}")
        if trait == "mixes_samples" and kind != "op" and not isinstance(value, bool):
            raise TypeError(f"the trait '{trait}' of the {kind} '{name}' is {value!r}, expected bool")
    return Traits(**given)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _written(annotation: Any) -> str:
    return "None" if annotation is NoneType else formatannotation(annotation).replace("collections.abc.", "")


def _fits(value: object, annotation: Any) -> bool:
    """Whether a value is what an annotation says, as far as those of traits go. Whole numbers fit floats."""
    alternatives = _alternatives(annotation)
    if len(alternatives) > 1:
        return any(_fits(value, each) for each in alternatives)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return value in inner
    if origin is Callable:
        return callable(value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            _fits(each, expected) for item in value.items() for each, expected in zip(item, inner, strict=True)
        )
    if origin is tuple:
        of = inner[:1] * len(value) if isinstance(value, tuple) and ... in inner else inner
        return isinstance(value, tuple) and len(value) == len(of) and all(map(_fits, value, of))
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, annotation)


def _instead(trait: str, kind: Kind) -> str:
    """Which kinds have such a trait, or else the nearest one, or all that there are."""
    others = [other for other, traits in TRAITS.items() if trait in traits]
    if others:
        return f"; the decorators that take it: {', '.join(others)}"
    found = nearest(trait, TRAITS[kind])
    return f"; {found}" if found else f"; there are {', '.join(TRAITS[kind])}"
