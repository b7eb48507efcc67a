"""Lints of names that have become others."""

from collections.abc import Iterator

from gangraph.build.written import everywhere
from gangraph.check.infer import Types
from gangraph.errors import Edit, Problem
from gangraph.graph.model import Graph
from gangraph.language.expression import model as ast
from gangraph.registry import SYNONYMS


def older_names(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG646: a form under an older name, which a later version will not know."""
    for expression in everywhere(graph.spec):
        for call in ast.walk(expression):
            name = call.function if isinstance(call, ast.Call) else None
            if not isinstance(name, ast.Name) or name.id not in SYNONYMS.values():
                continue
            written = name.span.text.content[name.span.start : name.span.end]  # an expression has the new name already
            if SYNONYMS.get(written) == name.id:
                yield Problem(
                    code="GG646",
                    severity="warning",
                    message=f"'{written}' is called '{name.id}' now",
                    span=name.span,
                    found=written,
                    fix=f"{name.id}, which means the same",
                    mend=Edit(name.span, name.id),
                )
