"""The page of every name that a spec can use, made from the definitions themselves: docs/vocabulary.md."""

from collections.abc import Iterable, Iterator
from inspect import Parameter
from typing import Literal, get_args, get_origin

from torch import Tensor

from gangraph.build.expressions import OPERATORS
from gangraph.build.network import layer_parameters
from gangraph.check.initialize import KINDS, SCHEMES
from gangraph.data import sources as _sources  # noqa: F401  (registers the sources)
from gangraph.errors import shown
from gangraph.language.expression.schedule import RAMPS
from gangraph.registry import Definition, optimizers, vocabulary
from gangraph.vocabulary import layers as _layers  # noqa: F401  (registers the rest)
from gangraph.vocabulary.parameters import PARAMETER_OPERATIONS, usage

_OWN = ("gangraph.", "torch.")  # modules whose definitions are on the page; plug-ins have pages of their own
_HEAD = """# Vocabulary

Every name that a spec can use. This page is made from the definitions by
`gangraph.views.vocabulary_page.vocabulary_page`; a test compares the two.

A signature lists what a spec writes. A parameter without a mark is a value (a tensor, or a number); one with
`: type` is a constant, known before the run. `*name` takes any number of arguments, `**name` any that are named.
Layers take constants only, and the size of their input is never written.
"""
_NOTES = {"logits": "takes logits", "saturates": "saturates", "mixes_samples": "mixes samples",
          "moves_state": "keeps state that a call moves",
          "needs_lipschitz": "needs a Lipschitz constraint", "wraps": "wraps a layer",
          "random": "random"}  # fmt: skip
_SECTIONS = (
    ("Layers", "layer", "In `layers:` and `parts:` of a network."),
    ("Ops", "op", "In values, losses and metrics, and between layers, where the running value is the first argument.\n"
                  "The operators `+ - * / **` are ops as well, and so are the comparisons `< <= > >= == !=`,\n"
                  "which give 1 and 0."),
    ("Losses", "loss", "In values and losses. Each gives one number, to be minimised."),
    ("Metrics", "metric", "In `evaluate:`, under `metrics:` and `results:`."),
    ("Sources", "source", "Under `data:`. Those marked random can also stand inside a value."),
)  # fmt: skip


def vocabulary_page() -> str:
    """The page as Markdown."""
    return "\n".join(line.rstrip() for line in _lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    own = {name: d for name, d in sorted(vocabulary.items()) if d.function.__module__.startswith(_OWN)}
    arithmetic = {*OPERATORS.values(), "neg"}
    yield from (_HEAD, "")
    for title, kind, about in _SECTIONS:
        chosen = {name: d for name, d in own.items() if d.kind == kind and name not in arithmetic}
        yield from (f"## {title}", "", about, "", "| name and signature | meaning | notes |", "|---|---|---|")
        yield from (f"| `{name}({_signature(d)})` | {_meaning(d)} | {_notes(d)} |" for name, d in chosen.items())
        yield ""
    for title, about, names in _lists():
        yield from (f"## {title}", "", about, "", ", ".join(f"`{name}`" for name in names) + ".", "")


def _lists() -> Iterator[tuple[str, str, Iterable[str]]]:
    """What is known by name and is no definition."""
    forms = ("grad(output, input)", "detach(value)", "at_first(value)", "again(value)", "history(value, size)")
    yield "Special forms", "Part of the language, not of the vocabulary: see language.md.", forms
    ramps = [f"{name}(from, to, start=, end=)" for name in RAMPS]
    yield "Numbers over time", "Ramps; `ramp` is another name of `linear`.", ramps
    gates = ("running(loss, decay=0.9)", "hysteresis(loss, low=, high=, open=true)")
    yield "Functions of gates", "In `when:` of an update or of one of its groups: see language/gates.md.", gates
    yield "Operations on parameters", "Under `then:` of an update.", map(usage, PARAMETER_OPERATIONS)
    yield "Optimizers", "torch.optim's, with their options.", optimizers
    kinds = ", ".join(f"`{kind}`" for kind in KINDS)
    keys = f"under `init:` by part, or by kind of layer ({kinds}), or `default`"
    yield "Initialisation", f"torch.nn.init's, {keys}.", SCHEMES


def _signature(definition: Definition) -> str:
    if definition.kind == "layer":
        inner = ["layer"] if definition.traits.wraps else []
        return ", ".join([*inner, *(_parameter(p, marked=False) for p in layer_parameters(definition))])
    marked = definition.kind != "source"
    return ", ".join(_parameter(p, marked=marked) for p in definition.signature.parameters.values())


def _parameter(parameter: Parameter, *, marked: bool) -> str:
    several = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    name = str(parameter).partition(":")[0] if several else parameter.name
    annotation = parameter.annotation
    if marked and annotation is not Tensor and Tensor not in get_args(annotation):
        kind = annotation.__name__ if isinstance(annotation, type) else str(annotation)
        if get_origin(annotation) is Literal:
            kind = " or ".join(map(shown, get_args(annotation)))
        name += f": {kind.replace(' | ', ' or ').replace('None', 'none')}"
    return name if parameter.default is parameter.empty else f"{name}={shown(parameter.default)}"


def _meaning(definition: Definition) -> str:
    """The first line of the documentation; of PyTorch's own classes, their name."""
    module, name = definition.function.__module__, definition.function.__name__
    text = f"`torch.nn.{name}`" if module.startswith("torch.") else definition.summary
    return text.replace("|", "\\|")


def _notes(definition: Definition) -> str:
    traits = definition.traits
    notes = [text for trait, text in _NOTES.items() if getattr(traits, trait)]
    if definition.kind == "layer" and not traits.wraps and len(definition.inputs) > 1:
        notes.append(f"takes {', '.join(definition.inputs)}")
    if callable(traits.mixes_samples):
        notes[notes.index(_NOTES["mixes_samples"])] = "mixes samples by its arguments"
    return ", ".join(notes + ([f"init: {traits.init}"] if traits.init else []))
