"""Which names the parts of a network may not have."""

from collections.abc import Iterator

from gangraph.errors import Problem
from gangraph.graph.code_names import module_name
from gangraph.language.spec import NetworkSpec
from gangraph.registry import SYNONYMS


def part_names(spec: NetworkSpec) -> Iterator[Problem]:
    """Problems of parts that would have the same parameters, since their names are one in code: `down[1]` and `down_1`.

    Nor has a part the older name of a form or of an operator, which a call of it would mean.
    """
    known: dict[str, str] = {}
    for part, chain in spec.parts.items():
        if (now := SYNONYMS.get(part.partition("[")[0])) is not None:
            yield Problem(
                code="GG411",
                message=f"the name '{part}' is taken",
                span=chain[0].span if chain else spec.span,
                found=f"a part called {part}, which is an older name of {now}",
                expected="another name",
            )
        other = known.setdefault(module_name(part), part)
        if other != part:
            yield Problem(
                code="GG215",
                message=f"parts '{other}' and '{part}' would have one name in code",
                span=chain[0].span if chain else spec.span,
                found=f"{module_name(part)} for both",
                expected="another name for one of them",
            )
