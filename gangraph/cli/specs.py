"""Commands on specs: `check`, `show`, `list`, `new`, `schema`."""

import json as jsons
import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gangraph.cli import options
from gangraph.cli.options import Kernels, ShowAs, emit, read_spec
from gangraph.errors import DataError, Problem, SpecError, UsageError, nearest

if TYPE_CHECKING:
    from gangraph.check.phase import Checked
    from gangraph.language.spec import Spec

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def check(
    spec: options.SpecName,
    profile: options.Profile = None,
    variant: options.Variant = None,
    settings: options.Settings = None,
    data: Annotated[bool, typer.Option("--data", help="Also open the data and read every image.")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="First write the fixes that can only be meant one way.")] = False,
    json: options.Json = False,
) -> None:
    """Find everything that is wrong with a spec, without training."""
    if fix:
        _fix(spec, profile, variant, settings)
    try:
        resolved = read_spec(spec, profile, variant, settings)
        with options.waiting(f"checking {spec}"):
            with options.importing():
                from gangraph.pipeline import check_spec
            checked = check_spec(resolved)
    except SpecError as error:
        if not json:
            raise
        from gangraph.views import text

        print(_json(text.invalid_json(spec, profile, variant, error.problems)))
        raise typer.Exit(1) from None
    with options.waiting(f"reading the data of {spec}"):
        bad, notes = _bad_data(checked) if data else ([], _missing_data(checked))
        missing = _missing_weights(checked)
    from gangraph.views import text

    if json:
        print(_json(text.check_json(resolved, checked, bad, notes, missing)))
    else:
        print(text.check_text(resolved, checked, bad, notes, missing))
    if bad or missing:
        raise typer.Exit(1)


def _missing_weights(checked: tuple["Checked", ...]) -> list[Problem]:
    """The pretrained networks without which a run could not begin, and what fetches them. No file is opened."""
    from gangraph.language.spec import PretrainedWeights
    from gangraph.vocabulary.imagenet import backbone_file, missing_backbone

    weights = (network.spec.weights for phase in checked for network in phase.graph.networks.values())
    calls = {each.name: each.span for each in weights if isinstance(each, PretrainedWeights)}
    return [missing_backbone(name, span) for name, span in calls.items() if backbone_file(name) is None]


def _fix(spec: str, profile: str | None, variant: str | None, settings: list[str] | None) -> None:
    """Fix what can be fixed, and show it beside what the command prints."""
    from gangraph.cli.fix import fix_spec
    from gangraph.language.document.parse import Choice

    choice = Choice(profile=profile, variant=variant, set=options.values_of(settings))
    with options.waiting(f"fixing {spec}"), options.importing():
        changed = fix_spec(spec, choice)
    print(changed or f"{spec}: nothing that can be fixed in one way only", file=sys.stderr)


def _missing_data(checked: tuple["Checked", ...]) -> list[tuple[str, str]]:
    """The data that a run would not find, with the name of its source. No file is opened."""
    from gangraph.check.reads import streams_read
    from gangraph.data.source import missing_places, names_another

    return [
        (
            path.removeprefix("data."),
            f"there is no '{place}', so a run would stop; {names_another(path, source, name)}",
        )
        for path, source in streams_read(checked).items()
        for name, place in missing_places(source)
    ]


def _bad_data(checked: tuple["Checked", ...]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What cannot be read in the spec's data, and what is not meant to be read, with the name of its source.

    Raises:
        DataError: some data is not there at all, or its source raises something else.
    """
    from gangraph.data import source as data

    graphs = [
        graph
        for phase in checked
        for graph in (phase.graph, phase.graph.evaluation and phase.graph.evaluation.graph)
        if graph
    ]
    sources = {
        repr(source): (name, source)
        for graph in graphs
        for name, source in graph.sources.items()
        if hasattr(source, "open")
    }
    bad, notes, missing = [], [], []
    for name, source in sources.values():
        with data.reading(name, source):
            try:
                opened = source.open()
            except DataError as error:
                missing.append(f"data '{name}': {error}")
                continue
            notes += [(name, note) for note in data.notes(opened)]
            bad += [(name, problem) for problem in data.problems(opened)]
    if missing:
        raise DataError("\n".join([*missing, *(f"data '{name}': {problem}" for name, problem in bad)]))
    return bad, notes


def show(
    spec: options.SpecName,
    view: Annotated[
        ShowAs,
        typer.Option(
            "--as",
            help="What to show; 'data' is what sources give, 'graph' an SVG, 'latex' the mathematics, 'grid' a PNG of "
            "the embedded world.",
        ),
    ],
    output: options.Output = None,
    profile: options.Profile = None,
    variant: options.Variant = None,
    settings: options.Settings = None,
    no_share: options.NoShare = False,
    no_merge: options.NoMerge = False,
    kernels: Annotated[
        Kernels | None,
        typer.Option(
            "--kernels", help="Place kernels as on CUDA, or not.", show_default="auto in the plan, off in the code"
        ),
    ] = None,
) -> None:
    """Show a spec as any stage of the compiler sees it."""
    if view is ShowAs.grid or spec == "world":
        _show_world(spec, view, output)
        return
    if view is ShowAs.graph:
        options.require_svg(output)
    else:
        options.textual(output, f"the {view.value} view")
    resolved = read_spec(spec, profile, variant, settings)
    if view is ShowAs.spec and not any(problem.severity == "error" for problem in resolved.problems):
        from gangraph.views.text import spec_text

        emit(spec_text(resolved), output)
        return
    placed = (view is ShowAs.plan) if kernels is None else kernels is not Kernels.off
    with options.waiting(f"reading {spec}"):
        with options.importing():
            from gangraph.pipeline import check_spec
        checked, width = check_spec(resolved), options.columns(output)
        switches = {"share": not no_share, "merge": not no_merge, "kernels": placed}
        shown = _shown(resolved, checked, view, **switches, width=width)
    if view is ShowAs.graph and len(resolved.phases) > 1:
        print(f"the last of {len(resolved.phases)} phases is drawn", file=sys.stderr)
    emit(shown, output)


def _shown(
    resolved: "Spec",
    checked: tuple["Checked", ...],
    view: ShowAs,
    *,
    share: bool,
    merge: bool,
    kernels: bool,
    width: int,
) -> str:
    """The text of a view, a plan in lines of at most `width` letters; phases one after the other."""
    from gangraph.pipeline import compile_phase
    from gangraph.views import text

    titles = text.titles(resolved)
    if view is ShowAs.graph:
        return _drawn(checked[-1], titles[-1], resolved)
    if view is ShowAs.latex:
        from gangraph.views.latex import latex_text

        return latex_text(checked, titles)
    from gangraph.views.code import code_text
    from gangraph.views.plan import plan_text

    parts = []
    for title, phase in zip(titles, checked, strict=True):
        if view is ShowAs.shapes:
            parts.append(text.shapes_text(phase, title=title))
            continue
        if view is ShowAs.data:
            from gangraph.views.data import data_text

            parts.append(data_text(phase, title=title))
            continue
        program = compile_phase(phase, share=share, merge=merge, kernels="auto" if kernels else "off")
        if view is ShowAs.code:
            parts.append(code_text(program, title=title))
        else:
            parts.append(plan_text(program, title=title, width=width))
    return "\n\n\n".join(parts)


def _drawn(phase: "Checked", title: str, resolved: "Spec") -> str:
    from gangraph.views.drawing import draw

    shapes = {name: str(kind) for name, kind in phase.types.nodes.items()}
    return draw(phase.graph, title=title, subtitle=resolved.about, shapes=shapes)


def _show_world(spec: str, view: ShowAs, output: Path | None) -> None:
    if spec != "world" or view is not ShowAs.grid:
        raise UsageError(
            "the embedded world is shown as a grid, and nothing else is: gangraph show world --as grid -o world.png"
        )
    if output is None:
        raise UsageError("a picture needs a file: gangraph show world --as grid -o world.png")

    from gangraph.data.world.sheet import contact_sheet

    try:
        contact_sheet().save(output)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write '{output}': {getattr(error, 'strerror', None) or error}") from None
    print(f"wrote {output}", file=sys.stderr)


def list_specs(json: options.Json = False) -> None:
    """List the specs that gangraph ships, with their papers, and those that train evaluators."""
    from gangraph.language.document.library import evaluators, shipped

    papers = sorted((_summary(*named) for named in shipped().items()), key=lambda row: (row["year"] or 0, row["name"]))
    shipped_evaluators = [_summary(*named) for named in evaluators().items()]
    if json:
        print(_json({"specs": papers, "evaluators": shipped_evaluators}))
        return
    indent = max(len(row["name"]) for row in papers) + 2
    for row in papers:
        head = f"{row['name']:<{indent}}{row['year'] or '':<4}  "
        print(_wrapped(head + row["title"], indent + 6))
        print(_wrapped(" " * (indent + 6) + row["about"], indent + 6))
    print("\nevaluators, networks that others are evaluated by")
    for row in shipped_evaluators:
        print(f"  {row['name']}\n{_wrapped(' ' * (indent + 6) + row['about'], indent + 6)}")


def _wrapped(line: str, indent: int) -> str:
    return textwrap.fill(line, 80, subsequent_indent=" " * indent, drop_whitespace=True, break_on_hyphens=False)


def _summary(name: str, path: Path) -> dict[str, Any]:
    """A shipped spec's name, paper, one line, profiles and variants."""
    from gangraph.errors import Text
    from gangraph.language.document.parse import parse
    from gangraph.language.document.tree import TreeMapping, read_tree
    from gangraph.language.scalar import Scalar

    tree = read_tree(Text(path.name, path.read_text(encoding="utf-8")))
    if Scalar("base") in tree:  # its paper, profiles and variants may be those of its base
        tree = parse(path).tree
    paper = tree.get(Scalar("paper"))
    stated = paper if isinstance(paper, TreeMapping) else TreeMapping()
    year = stated.get(Scalar("year"))
    return {
        "name": name,
        "about": str(tree.get(Scalar("about"), "")),
        "title": str(stated.get(Scalar("title"), "")),
        "year": int(year) if isinstance(year, Scalar) else None,
        "profiles": ["paper", *map(str, tree.get(Scalar("profiles"), ()))],
        "variants": [*map(str, tree.get(Scalar("variants"), ()))],
    }


def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The new spec's name; NAME.yaml is written here.", show_default=False)
    ],
    source: Annotated[str, typer.Option("--from", metavar="SPEC", help="The shipped spec to begin with.")],
) -> None:
    """Begin a spec of your own from a shipped one."""
    from gangraph.language.document.library import shipped

    name = name.removesuffix(".yaml")
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot name a spec: take letters, digits, '_' and '-', beginning with a letter")
    known = shipped()
    if source not in known:
        raise UsageError(f"no shipped spec '{source}': one of {', '.join(known)}" + _suggestion(source, known))
    target = Path(f"{name}.yaml")
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(_renamed(known[source].read_text(encoding="utf-8"), name))
    except FileExistsError:
        raise UsageError(f"'{target}' is there already; choose another name, or move it away") from None
    except OSError as error:
        raise UsageError(f"cannot write '{target}': {error.strerror}") from None
    print(f"wrote {target}, a copy of {source}; next: gangraph check {target}")


def _suggestion(name: str, known: dict[str, Path]) -> str:
    found = nearest(name, known)
    return f"; {found}" if found else ""


def _renamed(text: str, name: str) -> str:
    return re.sub(r"^name:.*$", f"name: {name}", text, count=1, flags=re.MULTILINE)


def schema() -> None:
    """Print the JSON schema of specs, for editors."""
    from gangraph.language.document.schema import Document
    from gangraph.registry import load_plugins

    load_plugins()
    made: dict[str, Any] = Document.model_json_schema(by_alias=True)
    print(_json(made))


def _json(data: dict[str, Any]) -> str:
    """JSON for people too: lists of numbers stay on one line."""
    text = jsons.dumps(data, indent=2, ensure_ascii=False)
    return re.sub(r"\[([\s\d,.-]+)\]", lambda found: f"[{' '.join(found[1].split())}]", text)
