"""Commands on specs: `check`, `show`, `list`, `new`, `schema`."""

import json as jsons
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gangraph.cli import options
from gangraph.cli.options import Kernels, View, emit, read_spec
from gangraph.errors import DataError, SpecError, UsageError, nearest

if TYPE_CHECKING:
    from gangraph.compiler.check import Checked
    from gangraph.language.spec import Spec

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def check(
    spec: options.SpecName,
    profile: options.Profile = None,
    variant: options.Variant = None,
    settings: options.Settings = None,
    data: Annotated[bool, typer.Option("--data", help="Also open the data and read every image.")] = False,
    json: options.Json = False,
) -> None:
    """Find everything that is wrong with a spec, without training."""
    from gangraph.views import text

    try:
        resolved, checked = _checked(spec, profile, variant, settings)
    except SpecError as error:
        if not json:
            raise
        print(_json(text.invalid_json(spec, profile, variant, error.problems)))
        raise typer.Exit(1) from None
    bad, notes = _bad_data(checked) if data else ([], [])
    if json:
        print(_json(text.check_json(resolved, checked, bad, notes)))
    else:
        print(text.check_text(resolved, checked, bad, notes))
    if bad:
        raise typer.Exit(1)


def _checked(
    source: str, profile: str | None, variant: str | None, settings: list[str] | None
) -> tuple["Spec", tuple["Checked", ...]]:
    """The spec and its checked phases; torch is imported once the text is known to parse."""
    resolved = read_spec(source, profile, variant, settings)

    from gangraph.pipeline import check_spec

    return resolved, check_spec(resolved)


def _bad_data(checked: tuple["Checked", ...]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What cannot be read in the spec's data, and what is not meant to be read, with the name of its source.

    Raises:
        DataError: some data is not there at all.
    """
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
        try:
            opened = source.open()
        except DataError as error:
            missing.append(f"data '{name}': {error}")
            continue
        notes += [(name, note) for note in getattr(opened, "notes", ())]
        bad += [(name, problem) for problem in (opened.verify() if hasattr(opened, "verify") else ())]
    if missing:
        raise DataError("\n".join([*missing, *(f"data '{name}': {problem}" for name, problem in bad)]))
    return bad, notes


def show(
    spec: options.SpecName,
    view: Annotated[
        View,
        typer.Option(
            "--as", help="What to show; 'graph' is an SVG, 'latex' the mathematics, 'grid' a PNG of the embedded world."
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
    if view is View.grid or spec == "world":
        _show_world(spec, view, output)
        return
    resolved = read_spec(spec, profile, variant, settings)
    if view is View.spec and not resolved.problems:
        from gangraph.views.text import spec_text

        emit(spec_text(resolved), output)
        return

    from gangraph.pipeline import check_spec

    placed = (view is View.plan) if kernels is None else kernels is not Kernels.off
    shown = _shown(resolved, check_spec(resolved), view, share=not no_share, merge=not no_merge, kernels=placed)
    emit(shown, output)


def _shown(
    resolved: "Spec", checked: tuple["Checked", ...], view: View, *, share: bool, merge: bool, kernels: bool
) -> str:
    """The text of a view; phases one after the other."""
    from gangraph.pipeline import compile_phase
    from gangraph.views import text

    titles = text.titles(resolved)
    if view is View.graph:
        return _drawn(checked[-1], titles[-1], resolved)
    if view is View.latex:
        from gangraph.views.latex import latex_text

        return latex_text(checked, titles)
    from gangraph.views.code import code_text

    parts = []
    for title, phase in zip(titles, checked, strict=True):
        if view is View.shapes:
            parts.append(text.shapes_text(phase, title=title))
            continue
        program = compile_phase(phase, share=share, merge=merge, kernels="auto" if kernels else "off")
        parts.append(code_text(program, title=title) if view is View.code else text.plan_text(program, title=title))
    return "\n\n\n".join(parts)


def _drawn(phase: "Checked", title: str, resolved: "Spec") -> str:
    from gangraph.views.drawing import draw

    if len(resolved.phases) > 1:
        print(f"the last of {len(resolved.phases)} phases is drawn", file=sys.stderr)
    shapes = {name: str(kind) for name, kind in phase.types.nodes.items()}
    return draw(phase.graph, title=title, subtitle=resolved.about, shapes=shapes)


def _show_world(spec: str, view: View, output: Path | None) -> None:
    if spec != "world" or view is not View.grid:
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


def list_specs() -> None:
    """List the specs that gangraph ships, with their papers, and those that train evaluators."""
    from gangraph.language.library import evaluators, shipped

    papers = sorted((_summary(path) for path in shipped().values()), key=lambda row: (row["year"], row["name"]))
    width = max(len(row["name"]) for row in papers)
    for row in papers:
        print(f"{row['name']:<{width}}  {row['year']:<4}  {row['title']}\n{'':<{width + 8}}{row['about']}")
    print("\nevaluators, networks that judge others")
    for name, path in evaluators().items():
        print(f"  {name}\n{'':<{width + 8}}{_summary(path)['about']}")


def _summary(path: Path) -> dict[str, str]:
    """A shipped spec's name, paper and one line."""
    from gangraph.errors import Text
    from gangraph.language.tree import Mapping, Scalar, read_tree

    tree = read_tree(Text(path.name, path.read_text(encoding="utf-8")))
    paper = tree.get(Scalar("paper"))
    stated = paper if isinstance(paper, Mapping) else Mapping()
    return {
        "name": path.stem,
        "about": str(tree.get(Scalar("about"), "")),
        **{key: str(stated.get(Scalar(key), "")) for key in ("title", "year")},
    }


def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The new spec's name; NAME.yaml is written here.", show_default=False)
    ],
    source: Annotated[str, typer.Option("--from", metavar="SPEC", help="The shipped spec to begin with.")],
) -> None:
    """Begin a spec of your own from a shipped one."""
    from gangraph.language.library import shipped

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
    from gangraph.language.schema import Document

    made: dict[str, Any] = Document.model_json_schema(by_alias=True)
    print(_json(made))


def _json(data: dict[str, Any]) -> str:
    """JSON for people too: lists of numbers stay on one line."""
    text = jsons.dumps(data, indent=2, ensure_ascii=False)
    return re.sub(r"\[([\s\d,.-]+)\]", lambda found: f"[{' '.join(found[1].split())}]", text)
