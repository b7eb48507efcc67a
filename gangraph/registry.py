"""The names that a spec may use, and the decorators that add to them.

A plug-in is a Python package with an entry point in the group `gangraph.plugins`; the entry point names
a module, and importing that module registers things with the decorators below. A plug-in's names get the
same checks and the same errors as gangraph's own.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from itertools import takewhile
from typing import Any, TypeVar

from gangraph.errors import GangraphError, Problem, Span, UsageError, nearest
from gangraph.traits import Kind, Traits, traits_of

Function = TypeVar("Function", bound=Callable[..., Any])

# gangraph's own `kinds.forms`
FORMS = frozenset(("again", "at_first", "autoregressive", "detach", "grad", "history", "parameters", "weight_matrix"))
SYNONYMS = {"held": "at_first", "above": ">"}  # older names of a form and of an operator, which mean the same
_SPECIAL = FORMS | {*SYNONYMS, "average", "matrices", "sum", "trained"}  # calls that the language itself defines
# What registers gangraph's own names. Plug-ins come after it, so that one that takes such a name is the one refused.
_OWN = ("gangraph.vocabulary", "gangraph.data.sources", "gangraph.graph.kinds")


@dataclass(frozen=True, slots=True)
class Definition:
    """One registered name: what it is, how it is called, and what the checker may know about it."""

    name: str
    kind: Kind
    function: Callable[..., Any]
    signature: inspect.Signature
    traits: Traits

    @property
    def inputs(self) -> tuple[str, ...]:
        """What a layer takes in a run: the values of its `forward`, or the leading tensors of a function.

        Of a function the first is an input in any case, and each is an example as the layer is made. What has a
        default is none, such as the random numbers of a random layer.
        """
        made: Any = self.function
        if isinstance(self.function, type):
            forward = inspect.signature(made.forward).parameters.values()
            places = [each for each in list(forward)[1:] if each.kind is each.POSITIONAL_OR_KEYWORD]
            return tuple(each.name for each in places if each.default is each.empty) or ("x",)
        first, *rest = self.signature.parameters.values()
        more = takewhile(lambda each: _is_tensor(each.annotation) and each.default is each.empty, rest)
        return (first.name, *(each.name for each in more))

    @property
    def summary(self) -> str:
        """The first line of the documentation."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def mixes_samples(self, arguments: Iterable[Any] = (), keywords: Mapping[str, Any] | None = None) -> bool:
        """Whether a call makes a sample's output depend on the other samples of its batch.

        The arguments of an op are its constants, and for a value a tensor, or None if it has no batch.
        """
        mixes = self.traits.mixes_samples
        return mixes if isinstance(mixes, bool) else mixes(*arguments, **(keywords or {}))


def _is_tensor(annotation: object) -> bool:
    """Whether an annotation is torch's tensor, which is not imported for this."""
    return annotation == "Tensor" or (getattr(annotation, "__module__", ""), annotation.__class__.__name__) == (
        "torch",
        "_TensorMeta",
    )


class Registry(Mapping[str, Definition]):
    """Named definitions. A name is registered once; a second registration is the author's mistake."""

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._definitions: dict[str, Definition] = {}
        self._reserved = set(reserved)

    def __getitem__(self, name: str) -> Definition:
        return self._definitions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._definitions)

    def __len__(self) -> int:
        return len(self._definitions)

    def add(self, definition: Definition) -> None:
        """Register one definition.

        Raises:
            ValueError: the name is taken, or reserved.
        """
        self._verify_free(definition.name)
        if definition.name in self._reserved:
            kind = definition.kind
            raise ValueError(f"{_article(kind)} {kind} cannot be called '{definition.name}', a form of the language")
        self._definitions[definition.name] = definition

    def reserve(self, name: str) -> None:
        """Keep a name for a form of the language.

        Raises:
            ValueError: a definition has it.
        """
        self._verify_free(name)
        self._reserved.add(name)

    @property
    def reserved(self) -> frozenset[str]:
        """The names that the language itself gives a meaning as calls."""
        return frozenset(self._reserved)

    def _verify_free(self, name: str) -> None:
        if name in self._definitions:
            kind = self._definitions[name].kind
            raise ValueError(f"there is already {_article(kind)} {kind} called '{name}'")

    def of_kind(self, *kinds: Kind) -> dict[str, Definition]:
        """The definitions of some kinds, sorted by name."""
        return {name: d for name, d in sorted(self._definitions.items()) if d.kind in kinds}


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


vocabulary = Registry(_SPECIAL)
optimizers = Registry()  # apart: an expression may use the name of an optimizer for something else


def _registers(kind: Kind, name: str | None, traits: Mapping[str, Any]) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        chosen = name or function.__name__
        if kind == "optimizer" and not _is_optimizer(function):
            raise TypeError(f"the optimizer '{chosen}' is {function!r}, expected a subclass of torch.optim.Optimizer")
        definition = Definition(chosen, kind, function, inspect.signature(function), traits_of(kind, chosen, traits))
        if kind == "optimizer":
            _verify_named_options(definition)
        (optimizers if kind == "optimizer" else vocabulary).add(definition)
        return function

    return register


def _is_optimizer(made: object) -> bool:
    """Whether it is a class of optimizers, of torch, which is not imported for this."""
    bases = made.__mro__ if isinstance(made, type) else ()
    return any((base.__module__, base.__qualname__) == ("torch.optim.optimizer", "Optimizer") for base in bases)


def _verify_named_options(optimizer: Definition) -> None:
    """Refuse traits that name options which the optimizer does not have. Raises TypeError."""
    traits, options = optimizer.traits, tuple(optimizer.signature.parameters)[1:]
    for trait, names in (("shapes_state", traits.shapes_state), ("at_start", traits.at_start)):
        for name in names:
            if name not in options:
                known = nearest(name, options) or f"there are {', '.join(options)}"
                raise TypeError(
                    f"the trait '{trait}' of the optimizer '{optimizer.name}' names '{name}', no option; {known}"
                )


def layer(name: str | None = None, **traits: Any) -> Callable[[Function], Function]:
    """Register a layer: an `nn.Module` class, or a function from an example input to a module.

    A class's `in_channels`, `in_features`, `num_features` or `input_size` is inferred from the input.
    Traits: `mixes_samples=True` if a sample's output depends on the other samples of the batch, with
    `only_in_training=True` if evaluation mode ends that and `grows_with_batch=True` if numbers depend on their count;
    `moves_state=True` if a call in training changes a buffer, `False` if its buffers are constants; a layer that says
    neither is taken to move every buffer that it has; `stops_gradient=True` if no gradient passes from its output;
    `init` names the kind of layer that `init:` addresses (`conv`, `linear`, `norm`).
    """
    return _registers("layer", name, traits)


def op(name: str | None = None, **traits: Any) -> Callable[[Function], Function]:
    """Register a pure function of tensors. Parameters annotated `Tensor` take values, the others constants.

    Traits: `range` is a function from the inputs' ranges to the output's; `ranges={"x": (-1, 1)}` is the interval that
    a parameter has to lie in; `labels={"label": "score"}` names a parameter whose whole numbers are classes, and the
    parameter that tells how many there are: a number, or scores [B, K] (a layer's input are the labels, so it states
    the latter alone). `mixes_samples=True` is as for layers; it may be a function of a call's arguments: its constants,
    and for each value a tensor without storage, or None if the value has no batch. `has_samples=False`: the result has
    no batch. `stops_gradient=True`: no gradient passes. `latex` is its formula and `words` its name in a sentence, both
    with `$x` for the argument of the parameter x. In a formula `$x` gets parentheses where it needs them and `${x}`
    does not, and `E[...]` is the mean over the batch.
    """
    return _registers("op", name, traits)


def loss(name: str | None = None, **traits: Any) -> Callable[[Function], Function]:
    """Register a loss: a pure function of tensors that returns one number.

    Traits: `logits=True` if it takes scores before any sigmoid, or the names of the parameters that are such scores;
    `saturates=True` for a generator loss whose gradient vanishes where the critic wins; `player="critic"` or
    `"generator"` says whose loss it is; `needs_lipschitz=True` if it has no lower bound for an unconstrained critic;
    `compares=True` if its arguments should live in one range; `ranges={"target": (0, 1)}` for what a parameter has to
    lie in; `per_element=True` for a mean over a sample's elements, `nats=True` for a divergence that is their sum;
    `latex` and `words` as for ops. A parameter `Tensor | float` takes a value or a number.
    """
    return _registers("loss", name, traits)


def source(name: str | None = None, **traits: Any) -> Callable[[Function], Function]:
    """Register a data source: a frozen dataclass with `fields` and `open()`; see `gangraph.data.source`."""
    return _registers("source", name, traits)


def metric(name: str | None = None, **traits: Any) -> Callable[[Function], Function]:
    """Register a metric: a pure function from all evaluated values (tensors on the CPU) to one number.

    Traits: `expects` is called with the metric's arguments, tensors on the meta device, in place of the metric when a
    spec is checked, and raises ValueError where shapes or the number of samples cannot be measured; `protocol` is
    called with the constants by name and returns plain facts to store beside the number and the constants, such as the
    weights used; a fact under a constant's name takes its place. `sets` groups its tensor arguments, as in
    `(("samples",), ("test",))`, where these groups may have different numbers of samples; all others have equally many.
    A metric raises ValueError for values that it cannot measure, and WeightsError where pretrained weights are missing.
    """
    return _registers("metric", name, traits)


def optimizer(name: str | None = None, **traits: Any) -> Callable[[Function], Function]:
    """Register a subclass of `torch.optim.Optimizer`, whose `__init__` takes parameters and annotated options.

    All that a step changes is a tensor in `state[parameter]`, for a checkpoint to hold, and no attribute of its own.

    Traits: `fused=True` if it takes the option `fused`, which updates all parameters in one call; `differentiable` is
    its step as a function, so that an objective can look ahead (`unroll`): from a parameter, its gradient, the state
    of the parameter (empty before its first step) and the options of its group to the next parameter and state, of
    which it changes none. For runs that go on with other options, `shapes_state=("momentum",)` names those without
    which (0 or false) it keeps less of each parameter, and `at_start` those that only the first step reads.
    `keeps={"step": range(2**53), "square": (0, inf)}` says in what the numbers of a kept tensor lie, and
    `refuses_state`, from the states of all parameters (empty where there is none), what its steps cannot have left: the
    place of a parameter, the name of a tensor, what was found and what was expected. A checkpoint is held to both.
    `reevaluates=True` if its step takes a closure that evaluates the objective once more, on the same draws, and leaves
    gradients in the parameters, as `torch.optim.LBFGS` does; it replaces what it keeps, and changes nothing in place.
    """
    return _registers("optimizer", name, traits)


def plugin_module(*functions: object) -> str:
    """The module of the first of some functions or classes that is neither gangraph's nor torch's; empty for none."""
    modules = (str(getattr(function, "__module__", None) or "") for function in functions)
    return next((name for name in modules if name and name.partition(".")[0] not in ("gangraph", "torch")), "")


def plugin_fault(error: BaseException, what: str, *functions: object) -> tuple[str, str]:
    """What has failed in which plug-in, and what it raised; to be called where the error is handled.

    Args:
        what: what has failed and when, with `{}` where the plug-in is named.
        functions: those that can have raised it.

    Raises:
        BaseException: the error itself, if none of the functions is a plug-in's, or if it is a message of its own.
    """
    module = plugin_module(*functions)
    if not module or isinstance(error, GangraphError | MemoryError | RecursionError):
        raise error
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    return what.format(f"of the plug-in's module '{module}'"), said


def plugin_problem(error: BaseException, what: str, span: Span, *functions: object) -> Problem:
    """The problem GG441 at a place in a spec, with the text of `plugin_fault`, and raising as that does."""
    message, reason = plugin_fault(error, what, *functions)
    return Problem(code="GG441", message=message, span=span, reason=reason)


def load_plugins() -> tuple[str, ...]:
    """Import every installed plug-in once; returns their names.

    Raises:
        UsageError: a plug-in raises or exits as it is imported; it is named, and so it is by every further call.
    """
    loaded = _loaded()
    if isinstance(loaded, UsageError):
        raise loaded
    return loaded


@cache
def _loaded() -> tuple[str, ...] | UsageError:
    """What `load_plugins` returns or raises, kept since a module that failed once would fail differently again."""
    found = sorted(entry_points(group="gangraph.plugins"), key=lambda entry: entry.name)
    for module in _OWN if found else ():
        import_module(module)
    for entry in found:
        try:
            entry.load()
        except (Exception, SystemExit) as error:  # a plug-in's module can raise anything
            said = f"{type(error).__name__}: {error}".rstrip(": ")
            failed = UsageError(f"the plug-in '{entry.name}' ({entry.value}) cannot be imported: {said}")
            failed.__cause__ = error
            return failed
    return tuple(entry.name for entry in found)
