"""From a spec file to a program: the whole compiler, in order.

text --parse--> Document --resolve--> Spec --build--> Graph --check--> Checked --plan--> Plan --lower--> Program

What a stage hands on is verified at once; that takes a small part of the time that the stage takes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from gangraph.build.phase import build
from gangraph.check.phase import Checked, check
from gangraph.check.weights import misfitting_start
from gangraph.errors import Problem, SpecError
from gangraph.graph.verify import verify, verify_gradients
from gangraph.language.document.parse import Choice, parse
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import PhaseSpec, Spec
from gangraph.lower.fusing import Kernels
from gangraph.lower.model import Program
from gangraph.lower.phase import lower
from gangraph.lower.verify import verify_program
from gangraph.plan.planner import plan
from gangraph.plan.verify import verify_plan


def load(
    source: str | Path,
    *,
    profile: str | None = None,
    variant: str | None = None,
    set: Mapping[str, object] | None = None,
) -> Spec:
    """Read a spec in one of its forms.

    Args:
        source: a path, or the name of a spec that gangraph ships.
        profile: an overlay such as `quick`; `paper` for the document itself. The document names its default.
        variant: one of the document's variants, or several separated by commas.
        set: values by path, such as `{"params.blocks": 3, "train.batch": 4}`.

    Raises:
        SpecError: the text is no YAML or no spec, or there is no such profile, variant or path. What is wrong
            with single expressions is kept and reported by `check`, together with all that it finds.
        UsageError: there is no such file or shipped spec.
    """
    settings = {path: _written(value) for path, value in (set or {}).items()}
    return resolve(parse(source), Choice(profile=profile, variant=variant, set=settings))


def check_phase(spec: Spec, phase: PhaseSpec) -> Checked:
    """Build and check one phase. Raises SpecError with every problem of the spec."""
    graph = build(phase, spec.broken)
    if not any(problem.severity == "error" for problem in (*spec.problems, *graph.problems)):
        verify(graph)
    checked = check(graph, spec.problems, spec.save)
    verify_gradients(graph)
    return checked


def check_spec(spec: Spec) -> tuple[Checked, ...]:
    """Build and check every phase. Raises SpecError with every problem of the spec."""
    checked, problems = [], list[Problem]()
    for phase in spec.phases:
        try:
            checked.append(check_phase(spec, phase))
        except SpecError as error:
            problems += error.problems
    if checked and not problems:
        problems += misfitting_start(spec.start, checked[0].networks, checked[0].graph.averages)
    if problems:
        raise SpecError(problems)
    everywhere = set(checked[0].lints).intersection(*(one.lints for one in checked))
    return tuple(replace(one, lints=tuple(_of_phase(one.lints, everywhere))) for one in checked)


def _of_phase(lints: tuple[Problem, ...], everywhere: set[Problem]) -> Iterator[Problem]:
    """What one phase leaves untrained or unused is no mistake if another phase has a use for it."""
    return (lint for lint in lints if lint.code not in ("GG605", "GG608") or lint in everywhere)


def compile_phase(checked: Checked, *, share: bool = True, merge: bool = True, kernels: Kernels = "off") -> Program:
    """Plan and lower one phase."""
    planned = plan(checked, share=share, merge=merge)
    verify_plan(planned)
    program = lower(planned, kernels=kernels)
    verify_program(program)
    return program


def _written(value: object) -> str:
    """A Python value as the expression that stands for it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_written(item) for item in value)}]"
    return str(value)
