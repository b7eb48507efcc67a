"""Optimizers by name, checked against their signatures."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import torch
from torch import Tensor

from gangraph.build.arguments import fits, type_name
from gangraph.errors import Problem, Span, SpecError, nearest, refuse
from gangraph.language.expression.constants import constant
from gangraph.language.expression.gates import outside
from gangraph.language.expression.model import Call, Expression, Name, keyword_span, unparse, walk
from gangraph.language.expression.schedule import Clock, evaluate_option, is_dynamic, numbers_in, require_over_time
from gangraph.language.spec import PhaseSpec
from gangraph.language.spec_fields import Names
from gangraph.language.update_spec import OptimizerSpec
from gangraph.registry import optimizers, plugin_module, plugin_problem

_CHANGED_BY_TORCH = ("state", "param_groups", "_need_device_dtype_check_for_fused")  # the last is done once, and again
_HIDDEN = ("params", "foreach", "capturable", "differentiable", "fused", "maximize")


def check_optimizers(spec: PhaseSpec) -> Iterator[Problem]:
    """Every group names a known optimizer and options that it has."""
    for group in spec.optimizers.values():
        found = [*_check_group(replace(group, listed=()), spec)]
        for entry in (entry for entry in group.listed if entry.options):
            found += [each for each in _check_group(group.of(entry), spec) if each not in found]
        yield from found or _check_entries(group)


def _check_entries(group: OptimizerSpec) -> Iterator[Problem]:
    """An optimizer may not take several groups of parameters, such as lbfgs."""
    entries = range(len(group.listed))
    try:
        if group.listed:
            make_optimizer(group, [torch.nn.Parameter(torch.zeros(2, 2)) for _ in entries], entries)
    except (Exception, SystemExit) as error:  # torch raises many types, and plug-ins any
        yield _refused(group, error)


def _check_group(group: OptimizerSpec, spec: PhaseSpec) -> Iterator[Problem]:
    if group.kind not in optimizers:
        function = Span(group.span.text, group.span.start, group.span.start + len(group.kind))
        yield Problem(
            code="GG320",
            message=f"there is no optimizer '{group.kind}'",
            span=function,
            found=group.kind,
            expected="one of " + ", ".join(optimizers),
            fix=nearest(group.kind, optimizers),
        )
        return
    options = optimizers[group.kind].signature.parameters
    known = options_of(group.kind)
    for name, value in group.options.items():
        if name not in known:
            yield Problem(
                code="GG320",
                message=f"'{group.kind}' has no option '{name}'",
                span=keyword_span(name, value),
                found=name,
                expected="one of " + ", ".join(known),
                fix=nearest(name, known),
            )
    if any(name not in known for name in group.options):
        return
    try:
        for name, value in group.options.items():
            _check_option(name, value, options[name].annotation, spec)
        _try_step(group)
    except SpecError as error:
        yield from error.problems
    except (Exception, SystemExit) as error:  # torch raises many types, and plug-ins any
        yield _refused(group, error)


def _refused(group: OptimizerSpec, error: BaseException) -> Problem:
    """The problem of a group whose optimizer raises; for an error of torch, that options do not fit together."""
    function = optimizers[group.kind].function
    if isinstance(error, ValueError) or not plugin_module(function):
        return Problem(code="GG320", message=f"'{group.kind}' refuses its options", span=group.span, reason=str(error))
    what = f"the optimizer '{group.kind}' {{}} fails with these options, on a weight of 2 x 2"
    return plugin_problem(error, what, group.span, function)


def options_of(kind: str) -> list[str]:
    """The options of an optimizer that a spec may give."""
    return [name for name in optimizers[kind].signature.parameters if name not in _HIDDEN]


def _check_option(name: str, value: Expression, annotation: Any, spec: PhaseSpec) -> None:
    """Refuse an option that is neither a constant of its type nor a number over time. Raises SpecError."""
    misplaced = [outside(node) for node in walk(value) if isinstance(node, Call)]
    if any(misplaced):
        raise SpecError([next(filter(None, misplaced))])
    for number in numbers_in(value):
        if is_dynamic(number) or any(isinstance(node, Name) and node.id in spec.states for node in walk(number)):
            require_over_time(number, spec.states)
    given = evaluate_option(value, Clock()) if is_dynamic(value) else constant(value, spec.static_names)
    if not fits(given, annotation):
        refuse(
            "GG320",
            f"the option '{name}' has the wrong type",
            value.span,
            found=unparse(value),
            expected=type_name(annotation).replace(" or a value", ""),
        )


def _try_step(group: OptimizerSpec) -> None:
    """Take a step with a weight of its own. Raises whatever the optimizer raises.

    Raises:
        SpecError: a checkpoint could not hold what the optimizer keeps.
    """
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    optimizer = make_optimizer(group, [weight])
    weight.grad = torch.ones_like(weight)
    options, attributes = _own_options(optimizer), _own_attributes(optimizer)
    take_step(group, optimizer)
    told = (*_changed(options, _own_options(optimizer)), *_changed(attributes, _own_attributes(optimizer)))
    if found := next(iter((*told, *_beyond_tensors(optimizer, weight))), ""):
        refuse(
            "GG320",
            f"a checkpoint could not hold what '{group.kind}' keeps",
            group.span,
            found,
            "all that a step changes as tensors in state[parameter], such as torch.zeros(()) for a count",
        )


Contents = dict[str, tuple[str, bytes]]  # the attributes of an object by name, each as text and pickled


def _own_options(optimizer: torch.optim.Optimizer) -> Contents:
    """The options of an optimizer's only group as they are now."""
    own = {name: value for name, value in optimizer.param_groups[0].items() if name != "params"}
    return {f"group[{name!r}]": _content(value) for name, value in own.items()}


def _own_attributes(optimizer: torch.optim.Optimizer) -> Contents:
    """The attributes of an optimizer as they are now, beside its state and its groups."""
    own = {name: value for name, value in vars(optimizer).items() if name not in _CHANGED_BY_TORCH}
    return {f"self.{name}": _content(value) for name, value in own.items()}


def _content(value: object) -> tuple[str, bytes]:
    """A value as text, and pickled; only as text if it cannot be pickled."""
    said, full = " ".join(repr(value).split()), BytesIO()
    try:
        _Pickler(full).dump(value)
    except Exception:  # an object of a plug-in may raise anything
        return said, said.encode()
    return said, full.getvalue()


class _Pickler(pickle.Pickler):
    """Pickles a value without the parameters in it, which a step is meant to change."""

    def persistent_id(self, value: object) -> object:
        """A generator of random numbers by its state."""
        if isinstance(value, torch.Generator):
            return value.get_state().tolist()
        return "parameter" if isinstance(value, torch.nn.Parameter) else None


def _changed(before: Contents, after: Contents) -> Iterator[str]:
    """The names of what a step has changed."""
    for name, (said, full) in after.items():
        earlier, was = before.get(name, ("nothing", b""))
        if was != full:
            how = f"from {earlier} to {said}" if earlier != said else f"within {said}"
            yield f"{name}, which a step changes {how}"


def _beyond_tensors(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter) -> Iterator[str]:
    """The names of whatever an optimizer keeps after a step that is not a tensor in the state of its parameter."""
    for key in optimizer.state.keys() - {weight}:
        yield f"state[{key!r}], which belongs to no parameter"
    for key, kept in optimizer.state[weight].items():
        if not isinstance(kept, Tensor):
            yield f"state[parameter][{key!r}] of type {type(kept).__name__}"


def make_optimizer(
    group: OptimizerSpec, parameters: list[torch.nn.Parameter], entries: Sequence[int] = ()
) -> torch.optim.Optimizer:
    """The optimizer of a group, fused where torch has a fused form. Numbers over time begin with their value at step 0.

    `entries` are the numbers of the entries that the parameters belong to, where these have options of their own.

    SGD with `dampening`, if only of an entry, is not fused, since `even_momentum` is right only without dampening.

    Raises:
        SpecError: an option is neither a constant nor a number over time.
        ValueError: torch refuses an option's value.
    """
    options = _at_start(group.options)
    own = [group.options, *(entry.options for entry in group.listed)]
    if optimizers[group.kind].traits.fused and not any("dampening" in each for each in own):
        options["fused"] = True
    given: list[Any] = [
        {"params": [p for p, i in zip(parameters, entries, strict=True) if i == number]} | _at_start(entry.options)
        for number, entry in enumerate(group.entries if entries else ())
        if number in entries
    ]
    made: torch.optim.Optimizer = optimizers[group.kind].function(given or parameters, **options)
    return made


def take_step(group: OptimizerSpec, optimizer: torch.optim.Optimizer) -> None:
    """Take one step with the gradients that the parameters have. An optimizer that asks for a loss gets a constant."""
    if optimizers[group.kind].traits.reevaluates:
        optimizer.step(lambda: 0.0)
    else:
        optimizer.step()


def _at_start(options: Names) -> dict[str, Any]:
    """Options as torch takes them: numbers over time by their value at step 0."""
    return {
        name: _option(evaluate_option(value, Clock()) if is_dynamic(value) else constant(value))
        for name, value in options.items()
    }


def even_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Give weights that get their first gradient after others a momentum of 0.

    Torch's fused SGD takes the momentum of all weights or of none. A step from a momentum of 0 is the same as a first
    step without one, if there is no dampening.
    """
    for group in optimizer.param_groups:
        if not (group.get("fused") and "dampening" in group and group["momentum"]):
            continue
        stepped = [p for p in group["params"] if p.grad is not None]
        late = [p for p in stepped if optimizer.state[p].get("momentum_buffer") is None]
        if len(late) < len(stepped):
            for parameter in late:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def unrollable() -> list[str]:
    """The optimizers of which an objective can look ahead."""
    return [name for name, definition in optimizers.items() if definition.traits.differentiable]


def schedules(group: OptimizerSpec, entries: Sequence[int] = ()) -> tuple[Names, ...]:
    """The options that change over time, for each parameter group of torch's optimizer, in its order."""
    specs = [group.of(group.entries[number]) for number in sorted({*entries})] or [group]
    return tuple({name: value for name, value in spec.options.items() if is_dynamic(value)} for spec in specs)


def _option(value: object) -> object:
    """Numbers as floats: torch's fused optimizers refuse whole numbers in tuples."""
    if isinstance(value, tuple):
        return tuple(float(item) if isinstance(item, int) else item for item in value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
