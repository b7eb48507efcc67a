"""What a run's spec says when it is read again: its objective, its drawing, its plan and its networks."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from latex2mathml.converter import convert

from gangraph.check.instantiate import NetworkModel
from gangraph.check.phase import Checked
from gangraph.errors import SpecError
from gangraph.folder.plugins import missing_plugins
from gangraph.folder.saved_spec import spec_of
from gangraph.language.spec import Spec
from gangraph.lower.fusing import Kernels
from gangraph.lower.model import Program
from gangraph.pipeline import check_spec, compile_phase
from gangraph.saved.state import Trained
from gangraph.views.drawing import draw
from gangraph.views.explain import explain
from gangraph.views.latex import objective
from gangraph.views.passages import Passage
from gangraph.views.plan import plan_text
from gangraph.views.text import layer_rows, parameters_text, titles

_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_MEDIA = "@media (prefers-color-scheme:dark){"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Networks of one form, as a table of layers: place, layer, output shape, parameters.

    `parameters` counts those of each network, `total` those of all together, with shared ones counted once; `shared`
    counts the shared parameters of each network that has some.
    """

    names: tuple[str, ...]
    template: str
    parameters: int
    total: int
    shared: tuple[str, ...]
    rows: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase of training: MathML by update, the drawing as SVG, the plan as text."""

    title: str
    equations: Mapping[str, tuple[tuple[str, str], ...]]  # what stands left and right of where lines are aligned
    drawing: str
    plan: str
    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A spec, its phases, and in words what a run of it does."""

    spec: Spec
    phases: tuple[Phase, ...]
    explanation: tuple[Passage, ...]


def load_system(trained: Trained | None, kernels: str) -> System | str:
    """The system that a checkpoint names, with the kernels of its run; or why it cannot be read again."""
    if trained is None:
        return "The run saved no checkpoint, so what was trained is known only by its text."
    try:
        spec = spec_of(trained)
        checked = check_spec(spec)
    except SpecError as error:
        if gone := missing_plugins(trained.plugins):
            return f"The system cannot be shown: {gone}."
        return f"This version of gangraph does not accept the spec any more: {error.problems[0].message}."
    known = cast("Kernels", kernels if kernels in ("on", "off") else "auto")
    programs = [compile_phase(one, share=trained.share, merge=trained.merge, kernels=known) for one in checked]
    told = explain(spec, [program.plan for program in programs])
    said = tuple(passage for block in told if block[0].kind != "title" for passage in block)
    phases = (_phase(i, title, one) for i, (title, one) in enumerate(zip(titles(spec), programs, strict=True), 1))
    return System(spec=spec, phases=tuple(phases), explanation=said)


def _phase(number: int, title: str, program: Program) -> Phase:
    checked = program.plan.checked
    shapes = {name: str(kind) for name, kind in checked.types.nodes.items()}
    return Phase(
        title=title,
        equations=_equations(checked),
        drawing=inlined(draw(checked.graph, title="Data flow of one training step", shapes=shapes), f"graph-{number}"),
        plan=plan_text(program, title=title),
        networks=tuple(_networks(checked, {name: checked.networks[name] for name in checked.types.networks})),
    )


def _equations(checked: Checked) -> dict[str, tuple[tuple[str, str], ...]]:
    updates: dict[str, list[tuple[str, str]]] = {}
    for line in objective(checked):
        updates.setdefault(line.update, []).append((_math(line.left), _math(line.right)))
    return {update: tuple(lines) for update, lines in updates.items()}


def _math(latex: str) -> str:
    return convert(latex, display="block") if latex else ""


def inlined(svg: str, name: str) -> str:
    """A drawing as part of a page: its ids and styles are made unique, and in print it has light colours."""
    svg = re.sub(r'id="(title|about)"', rf'id="{name}-\1"', svg)
    svg = svg.replace('aria-labelledby="title about"', f'id="{name}" aria-labelledby="{name}-title {name}-about"')
    before, style, after = re.split(r"</?style>", svg, maxsplit=2)
    light, _, dark = style.partition(_MEDIA)
    scoped = f"{_scoped(light, name)}@media screen and (prefers-color-scheme:dark){{{_scoped(dark, name)}}}"
    return f"{before}<style>{scoped}</style>{after}"


def _scoped(style: str, name: str) -> str:
    return "".join(
        f"{','.join(f'#{name} {selector.strip()}' for selector in selectors.split(','))}{{{rules}}}"
        for selectors, rules in _RULE.findall(style)
    )


def _networks(checked: Checked, models: Mapping[str, NetworkModel]) -> Iterator[Network]:
    """Networks with the same layers share a table."""
    rows = {name: tuple(layer_rows(model))[1:] for name, model in models.items()}
    for name, model in models.items():
        alike = tuple(other for other in models if rows[other] == rows[name])
        if name == alike[0]:
            template = model.graph.spec.template
            yield Network(
                names=alike,
                template=template if template != name else "",
                parameters=model.parameters,
                total=sum(map(checked.own_parameters, alike)),
                shared=tuple(
                    f"{each}: {parameters_text(checked, each)}" for each in alike if each in checked.tied_parts
                ),
                rows=rows[name],
            )
