"""Commands that read a spec for a person: `explain` and `diff`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gangraph.cli import completion, options
from gangraph.cli.options import emit, read_spec
from gangraph.errors import UsageError

if TYPE_CHECKING:
    from gangraph.language.spec import Spec

_SELECTOR = re.compile(r"([@:])([\w,-]*)$")
_FORM = "SPEC[@PROFILE][:VARIANT]"
_First = Annotated[
    str,
    typer.Argument(metavar="A", help=f"{_FORM}, the spec a path or a shipped name.", autocompletion=completion.specs),
]
_Second = Annotated[str, typer.Argument(metavar="B", help=f"{_FORM}, what A becomes.", autocompletion=completion.specs)]


def explain(
    spec: options.SpecName,
    output: options.Output = None,
    profile: options.Profile = None,
    variant: options.Variant = None,
    settings: options.Settings = None,
    no_share: options.NoShare = False,
    no_merge: options.NoMerge = False,
) -> None:
    """Tell in plain sentences what a run does, and why each update works as it does."""
    options.textual(output, "an explanation")
    resolved = read_spec(spec, profile, variant, settings)
    with options.waiting(f"reading {spec}"):
        with options.importing():
            from gangraph.pipeline import check_spec
            from gangraph.plan.planner import plan
            from gangraph.views.explain import explain_text
        plans = [plan(phase, share=not no_share, merge=not no_merge) for phase in check_spec(resolved)]
        text = explain_text(resolved, plans, options.columns(output))
    emit(text, output)


def diff(
    first: _First,
    second: _Second,
    output: options.Output = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 where the specs differ, as git diff does.")
    ] = False,
) -> None:
    """Say how two specs differ as mathematics: data, networks, terms, weights, optimizers, the order of updates.

    Each is a spec alone or followed by @PROFILE, by :VARIANT (several with commas between them), or by both:
    mine.yaml@paper, mine:slow, mine@quick:slow. An argument that is the path of a file is always that file.
    """
    options.textual(output, "a comparison")
    a, b = _form(first), _form(second)
    with options.waiting("comparing"):
        with options.importing():
            from gangraph.views.diff import compare_specs, diff_text
        comparison = compare_specs(a, b)
    emit(diff_text(a, b, comparison, (first, second), width=options.columns(output)), output)
    if exit_code and comparison.differences:
        raise typer.Exit(1)


def _form(argument: str) -> "Spec":
    """The spec in the form that an argument names.

    Raises:
        SpecError: the text does not parse, or there is no such profile or variant.
        UsageError: there is no such spec, or a selector is empty or written twice.
    """
    from gangraph.language.scalar import Scalar

    source, chosen = argument, dict[str, Scalar]()
    typed = Scalar.of(argument, argument)
    while not Path(source).is_file() and (selector := _SELECTOR.search(source)):
        sign, name = selector.groups()
        if not name:
            raise UsageError(f"'{argument}' has nothing after '{sign}'; a spec in a form is written {_FORM}")
        if sign in chosen:
            one = "a spec has one profile" if sign == "@" else "several variants stand behind one ':', with commas"
            raise UsageError(f"'{argument}' has '{sign}' twice; {one}")
        start, end = selector.span(2)
        chosen[sign] = Scalar.at(name, typed.text, typed.offsets[start : end + 1])
        source = source[: selector.start()]
    return read_spec(source, chosen.get("@"), chosen.get(":"), None)
